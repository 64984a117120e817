"""Code read on every way there is, and searched for what was put into it."""

from adversary.watched import Adversary


class Reading(Adversary):

    def test_all_code_on_every_way(self):
        watched = self.same_watched_or_not("read_code")
        lines = watched.stdout.decode().splitlines()
        for line in lines:
            words = line.split()
            sums = {w for w in words if len(w) == 16 and all(c in "0123456789abcdef" for c in w)}
            if line.startswith(("libc.so.6", "ld-linux", "read_code")) and "tracer" not in line:
                self.assertEqual(len(sums), 1, line)
        self.assertIn("libc.so.6 by a tracer: same", lines)
        self.assertIn("libc read while it runs: 0 of 10 different", lines)
        self.assertTrue(any(line.startswith("kernel text by /proc/kcore: ") and
                            ", 0 parts unread" in line for line in lines), lines)
        self.assertFalse(any("cannot be read" in line for line in lines), lines)
