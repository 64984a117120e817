"""Code of a library that a process changes, or has changed, is told."""

from adversary.watched import Adversary


class Tamper(Adversary):

    def tamper(self, way):
        """The events, and what the program printed, by its first word."""
        watched = self.run_program("tamper", way, options=["-e", "libc!labs"])
        said = dict(line.split(": ", 1) for line in self.verdicts(watched))
        return watched.actions("code_modified"), said, watched

    def test_function_written_over(self):
        events, said, watched = self.tamper("own")
        self.assertEqual(said["after"].split()[0], "998")
        self.assertEqual(len(events), 1)
        event = events[0]
        self.assertEqual(str(event["process"]["pid"]), said["pid"])
        self.assertEqual(event["dll"]["name"], "libc.so.6")
        # Of the twelve bytes that were written, the first ones may be what was there.
        entry = int(said["after"].split()[-1], 16)
        self.assertIn(int(event["glasshook"]["address"], 16), range(entry, entry + 12))
        self.assertEqual(event["glasshook"]["code"]["functions"], ["libc!labs"])
        self.assertLessEqual(event["glasshook"]["code"]["changed_bytes"], 12)
        # What was put there is no way around the hook.
        self.assertEqual(len(watched.actions("api_called")), 2)

    def test_code_written_by_another_process(self):
        events, said, watched = self.tamper("other")
        changed = int(said["other process"].split()[1])
        self.assertEqual([e["process"]["pid"] for e in events], [changed])
        self.assertEqual(events[0]["glasshook"]["code"]["changed_bytes"], 1)
        writer = watched.actions("process_memory_written")[0]
        self.assertEqual(writer["glasshook"]["target"]["pid"], changed)
        self.assertEqual(str(writer["process"]["pid"]), said["pid"])

    def test_what_is_the_files_again_is_not_told(self):
        events, said, _ = self.tamper("same")
        self.assertEqual(said["after"].split()[0], "2")
        self.assertEqual(events, [])

    def test_ordinary_programs_change_nothing(self):
        watched = self.run_program("returns", options=["--behaviours", "memory"])
        self.assertEqual(self.verdicts(watched)[0], "call on another stack: 4950")
        self.assertEqual(watched.actions("code_modified"), [])
