"""The oldest kernel and a newer one than most run, each with the programs of its Debian release.

Tests of other modules once more, those that kernels differ in, and what only concerns kernels.
"""

import functools
import pathlib
import unittest

import test_against_strace
import test_calls
import test_session
import test_watch
from harness import GuestTest, choose_guest, glasshook, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
KERNELS = {"linux-bullseye": "5.10.", "linux-trixie": "6.12."}
CANNOT_FETCH = b"cannot be fetched"


@functools.cache
def build(guest):
    """Builds the guest's image. Why it has to be done without, or None."""
    done = glasshook("image", "build", guest, timeout=1800)
    if done.returncode == 0:
        return None
    if CANNOT_FETCH in done.stderr:
        return done.stderr.decode(errors="replace").splitlines()[-2:]
    raise RuntimeError(done.stderr.decode(errors="replace"))


class OnKernel:
    """Mixed into a test class: `run` uses `guest`, whose kernel is a `release`."""

    guest = release = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.missing = build(cls.guest)
        cls.addClassCleanup(choose_guest, choose_guest(cls.guest))

    def setUp(self):
        if self.missing:
            self.skipTest(" ".join(self.missing))
        super().setUp()


class KernelItself(GuestTest):

    release = ""

    def test_is_the_one_meant(self):
        result = run(["uname", "-r"], "--behaviours", "process")
        self.assertEqual(result.stdout.decode()[:len(self.release)], self.release)
        self.assertIn("Linux " + self.release, result.stderr)

    def test_rare_behaviours(self):
        """Those that test_session.Behaviours leaves out."""
        result = run(["python3", "./rare_behaviours.py"], "--copy", PROGRAMS / "rare_behaviours.py")
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        self.assert_nothing_lost(result)
        for kind, field, value in (
                ("filesystem_mounted", ("file", "path"), "/tmp/mounted"),
                ("filesystem_unmounted", ("file", "path"), "/tmp/mounted"),
                ("process_traced", ("glasshook", "method"), "PTRACE_ATTACH"),
                ("kernel_module_loaded", ("glasshook", "module", "name"), "tun"),
                ("bpf_program_loaded", ("glasshook", "bpf", "name"), "rare"),
                ("api_bypassed", ("glasshook", "bypass", "origin"), "main_executable")):
            with self.subTest(kind):
                found = [functools.reduce(lambda v, k: v.get(k, {}), field, e)
                         for e in result.actions(kind)]
                self.assertIn(value, found)
        for path, reads, writes in (("/tmp/sent", 70000, 70000), ("/tmp/spliced", 3000, 4000),
                                    ("/tmp/ring", 2000, 5000)):
            with self.subTest(path):
                self.assertEqual(self.moved(result, "file_read", path), reads)
                self.assertEqual(self.moved(result, "file_written", path), writes)

    @staticmethod
    def moved(result, action, path):
        return sum(e["glasshook"]["bytes"] for e in result.actions(action)
                   if e["file"]["path"] == path)

    def test_counted_calls(self):
        processes, threads, calls = 4, 3, 200
        result = run(["python3", "./count_calls.py", processes, threads, calls], "-e",
                     "libc!getenv", "--copy", PROGRAMS / "count_calls.py", subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        made = {}
        for event in result.actions("api_called"):
            if event["api"]["args"].get("name") == "GLASSHOOK_NOT_SET":
                self.assertEqual(event["api"].get("result"), 0, "joined with its return")
                key = (event["process"]["entity_id"], event["process"]["thread"]["id"])
                made[key] = made.get(key, 0) + 1
        self.assertEqual(sorted(made.values()), [calls] * (processes * threads))


TESTS = {
    KernelItself: ["test_is_the_one_meant", "test_rare_behaviours", "test_counted_calls"],
    test_session.Behaviours: ["test_each_kind_is_seen"],
    test_against_strace.AgainstStrace: ["test_find", "test_tar_and_renames", "test_connections"],
    test_calls.DecodedCalls: ["test_arguments_results_and_errno",
                              "test_any_kernel_function_without_a_signature"],
    test_watch.WatchedByHand: ["test_looks_into_a_running_guest"],
    test_watch.FourLevelsOneTable: ["test_attach_kill_the_monitor_and_attach_again"],
}


def load_tests(_loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for guest, release in KERNELS.items():
        for tested, names in TESTS.items():
            name = f"{tested.__name__}_{guest.removeprefix('linux-')}"
            case = type(name, (OnKernel, tested),
                        {"guest": guest, "release": release, "__module__": __name__})
            suite.addTests(case(test) for test in names)
    return suite
