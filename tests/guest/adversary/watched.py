"""Runs one program in a watched machine and in one that nobody watches."""

import pathlib
import tempfile

from harness import GuestTest, compile_c, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"

# Every function of the C library that has a signature, much of the kernel, and all behaviours. Calls
# that are over the rate run through their hooks all the same.
HOOKED = ["--behaviours", "all", "--rate", "20", "-e", "libc!*", "-e", "kernel!vfs_*",
          "-e", "kernel!do_sys_open*", "-e", "kernel!ptrace_*", "-e", "kernel!__x64_sys_*"]
UNHOOKED = ["--behaviours", "none"]
FLAGS = ["-D_GNU_SOURCE", "-Wall", "-Werror"]


class Adversary(GuestTest):
    """A program prints lines `check: what it found`."""

    def run_program(self, name, *arguments, options=(), prepare=""):
        """Runs programs/NAME.c in a fresh machine; `prepare` are shell commands before it."""
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / name
            compile_c(PROGRAMS / f"{name}.c", program, *FLAGS)
            command = " ".join([f"./{name}", *map(str, arguments)])
            return run(["sh", "-c", f"{prepare} {command}"], "--copy", program, *options)

    def verdicts(self, result):
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        lines = result.stdout.decode().splitlines()
        self.assertGreater(len(lines), 2, result.stderr[-3000:])
        return lines

    def same_watched_or_not(self, name, *arguments, watch=(), options=(), prepare=""):
        """The result of the watched run, with the options `watch`; its lines are those of an
        unwatched one."""
        watched = self.run_program(name, *arguments, options=[*HOOKED, *watch, *options],
                                   prepare=prepare)
        free = self.run_program(name, *arguments, options=[*UNHOOKED, *options], prepare=prepare)
        self.assertEqual(self.verdicts(watched), self.verdicts(free))
        self.assert_nothing_lost(watched)
        # It was watched indeed.
        hooks = watched.summary()["glasshook"]["summary"]["hooks"]
        self.assertGreater(sum(1 for hook in hooks if hook["hits"]), 20)
        self.assertFalse([e for e in free.events if e["event"]["kind"] != "metric"])
        return watched
