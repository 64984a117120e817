"""Keys, clipboard, encryption and time of a Windows program, against what it says."""

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
