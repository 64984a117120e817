"""Keys, clipboard, encryption and time of Windows programs, and functions that few use, against what they say."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"


class Habits(GuestTest):

    def test_all_of_them(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "habits.exe"
            compile_windows(SOURCES / "habits.c", program, "-lbcrypt")
            result = run(["./habits.exe"], "--guest", "windows-api", "--copy", program,
                         "--behaviours", "process,windows-input,windows-crypto,windows-time")
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        self.assert_nothing_lost(result)
        said = {}
        for action, *rest in (line.split("\t") for line in result.stdout.decode().splitlines()):
            said.setdefault(action, []).append(rest)

        def told(action, *fields):
            found = []
            for event in result.actions(action):
                shown = event["glasshook"]
                found.append([shown["method"], *(shown[a].get(b) for a, b in fields)])
            return found

        for action in ("clipboard_read", "clipboard_written"):
            self.assertEqual(told(action, ("clipboard", "format")), said[action])
        self.assertEqual(told("crypto_key_made", ("crypto", "algorithm")), said["crypto_key_made"])
        watched = result.actions("keyboard_watched")
        self.assertEqual([e["glasshook"]["method"] for e in watched],
                         ["GetAsyncKeyState", "SetWindowsHookExA", "GetAsyncKeyState"])
        self.assertEqual(watched[2]["glasshook"]["operations"], int(said["keyboard_watched"][0][1]))
        [used] = result.actions("time_used")
        sleeps, milliseconds, checks = map(int, said["time_used"][0])
        time = used["glasshook"]["time"]
        # The C library and the loader look at the time as well.
        self.assertEqual((time["sleeps"], time["slept_ms"]), (sleeps, milliseconds))
        self.assertGreaterEqual(time["checks"], checks)
        self.assertLess(time["checks"], checks + 100)


class OddWays(GuestTest):

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "odd_ways.exe"
            compile_windows(SOURCES / "odd_ways.c", program, "-lntdll")
            cls.result = run(["./odd_ways.exe"], "--guest", "windows-api", "--smp", "2", "--copy",
                             program, "--behaviours", "process,windows-file,windows-registry",
                             "-e", "kernelbase!WaitForSingleObject")
        cls.said = [line.split("\t") for line in cls.result.stdout.decode().splitlines()]

    def setUp(self):
        self.assertEqual(self.result.code, 0,
                         self.result.stdout.decode() + self.result.stderr[-2000:])
        self.assert_nothing_lost(self.result)

    def test_what_was_done_is_told_and_what_was_refused_is_not(self):
        told = [[a, e["file"]["path"], e["file"].get("target_path", "")] for a in
                ("file_deleted", "file_renamed") for e in self.result.actions(a)]
        told += [[e["event"]["action"], e["registry"]["path"],
                  e["glasshook"]["registry"]["target_path"]]
                 for e in self.result.actions("registry_key_renamed")]
        said = [line for line in self.said if line[0] not in ("refused", "wait")]
        self.assertGreaterEqual(len(said), 2)
        self.assertCountEqual(told, said)

    def test_a_thread_that_ends_inside_a_call(self):
        calls = [e for e in self.result.actions("api_called")
                 if e["api"]["name"] == "WaitForSingleObject"]
        self.assertIn(["wait", str(len(calls))], self.said)
        self.assertEqual(sorted("result" in e["api"] for e in calls), [False, True], calls)
