"""A debugger at hooked functions: steps, breakpoints of all kinds, debug registers."""

from adversary.watched import Adversary


class Debugging(Adversary):

    def test_steps_and_breakpoints(self):
        watched = self.same_watched_or_not("debug", watch=["-e", "libc!labs/rate=1000"])
        lines = watched.stdout.decode().splitlines()
        self.assertIn("debug registers: 0 0 0 0 0", lines)
        self.assertIn("breakpoint in the code: 5 traps, exit 0", lines)
