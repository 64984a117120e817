"""Code that is changed, copied, moved and made anew, and an API that is "unhooked"."""

from adversary.watched import Adversary


class Changing(Adversary):

    def test_changed_copied_and_moved_code(self):
        watched = self.same_watched_or_not("change_code", watch=["-e", "libc!labs/rate=1000"])
        lines = watched.stdout.decode().splitlines()
        self.assertIn("code rewritten 1000 times: 499500", lines)
        self.assertIn("page replaced while it runs: 0 wrong 0 stale", lines)
        self.assertIn("code read by the disk: 0 wrong", lines)
        # Wherever its code is, and whatever was written over it, the function was seen.
        called = {signed(e["api"]["args"]["arg0"]) for e in watched.actions("api_called")
                  if e["api"]["name"] == "labs"}
        self.assertEqual(called, set(range(-47, -39)))
        self.assertGreater(len(watched.actions("code_executed_unbacked")), 0)
        self.assertIn(["libc!labs"], [e["glasshook"]["code"].get("functions")
                                      for e in watched.actions("code_modified")])


def signed(value):
    value = int(value, 0) if isinstance(value, str) else value
    return value - (1 << 64) if value >> 63 else value
