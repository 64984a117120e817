"""Hooks added to and removed from a session while a program calls the function all the time."""

import json
import pathlib
import tempfile

from harness import GuestTest, compile_c, end
from live_session import Session

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


class ChangingHooks(GuestTest):

    def change(self, threads, *options):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            compile_c(PROGRAMS / "steady_calls.c", folder / "libsteady.so", "-shared", "-fPIC")
            compile_c(PROGRAMS / "steady.c", folder / "steady", f"-L{folder}", "-lsteady",
                      "-Wl,-rpath,$ORIGIN")
            session = Session(self, folder, ["./steady", str(threads)], "--copy",
                              folder / "libsteady.so", "--copy", folder / "steady", *options)
            self.addCleanup(end, session.process)
            session.wait_for_life()
            self.assertEqual(session.calls("steady_call"), [])
            marks = []
            for _ in range(3):
                session.say("+libsteady!steady_call", "hooked libsteady!steady_call")
                session.wait_for_calls("steady_call", 150)
                session.say("+kernel!__x64_sys_umask", "hooked kernel!__x64_sys_umask")
                session.wait_for_calls("__x64_sys_umask", 100)
                session.say("-libsteady!steady_call", "no longer hooked: libsteady!steady_call")
                # What was captured is told before the removal is.
                marks.append(len(session.calls("steady_call")))
                kernel = len(session.calls("__x64_sys_umask"))
                session.wait_for_life()
                session.wait_for_calls("__x64_sys_umask", 100)
                self.assertEqual(len(session.calls("steady_call")), marks[-1])
                session.say("-kernel!__x64_sys_umask", "no longer hooked: kernel!__x64_sys_umask")
                self.assertGreater(len(session.calls("__x64_sys_umask")), kernel)
                kernel = len(session.calls("__x64_sys_umask"))
                session.wait_for_life()
                self.assertEqual(len(session.calls("__x64_sys_umask")), kernel)
            calls = list(session.calls("steady_call"))
            self.assertEqual(len(calls), marks[-1])
            self.assertEqual(session.finish(), 130, session.said[-20:])
            begin = 0
            for mark in marks:
                self.check_period(calls[begin:mark], threads)
                begin = mark
            summary = json.loads(session.json.read_bytes().splitlines()[-1])
            losses = summary["glasshook"]["summary"]["losses"]
            self.assertEqual({k: v for k, v in losses.items() if v}, {}, session.said[-20:])

    def check_period(self, calls, threads):
        """Between the first and the last call of a thread none is missing and none is double."""
        numbers = {}
        for call in calls:
            api = call["api"]
            numbers.setdefault(call["process"]["thread"]["id"], []).append(api["args"]["arg0"])
            if "result" in api:
                self.assertEqual(api["result"], api["args"]["arg0"] * 3)
        self.assertEqual(len(numbers), threads)
        for of_thread in numbers.values():
            of_thread.sort()
            self.assertEqual(of_thread, list(range(of_thread[0], of_thread[-1] + 1, threads)))
        # One call of each thread at most was under way when the hook was removed.
        self.assertLessEqual(sum("result" not in call["api"] for call in calls), threads)

    def test_added_removed_and_added_again(self):
        self.change(1)

    def test_four_threads_on_two_processors(self):
        self.change(4, "--smp", "2")

    def test_what_is_no_command_or_no_function_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            session = Session(self, pathlib.Path(folder), ["sleep", "1000"])
            self.addCleanup(end, session.process)
            session.say("+kernel!no_such_function", "the kernel has no function")
            session.say("hello", "is no command")
            session.say("-libc!open", "libc!open is not hooked")
            session.say("+libc!open", "hooked libc!open")
            self.assertEqual(session.finish(), 130)
