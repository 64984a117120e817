"""Private copies of ntdll, made in each way that a program can."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"


class PrivateCopies(GuestTest):

    def test_functions_are_seen_in_copies_and_the_copies_told(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "private_ntdll.exe"
            compile_windows(SOURCES / "private_ntdll.c", program)
            result = run(["./private_ntdll.exe"], "--guest", "windows-api", "--copy", program,
                         "--behaviours", "windows-bypass", "-e", "ntdll!NtOpenFile")
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        self.assert_nothing_lost(result)
        said = [line.split("\t") for line in result.stdout.decode().splitlines()]
        self.assertEqual([way for way, _, _ in said], ["loaded", "copied", "image", "file"])
        self.assertEqual({status for _, _, status in said}, {"0"}, "all calls succeeded")
        # Every one of them is seen as a call, from wherever the function ran ...
        opened = [e for e in result.actions("api_called")
                  if "cmd.exe" in str(e["api"]["args"]["ObjectAttributes"])]
        self.assertEqual(len(opened), len(said))
        # ... and those from copies are said to be such, and nothing else is.
        told = [(e["glasshook"]["bypass"]["origin"], e["glasshook"]["bypass"]["function"],
                 e["glasshook"]["address"]) for e in result.actions("api_bypassed")]
        self.assertEqual(told, [("private_copy", "ntdll!NtOpenFile", "0x" + address)
                                for way, address, _ in said if way != "loaded"])

    def test_ordinary_programs_have_none(self):
        result = run(["cmd.exe", "/c", "reg.exe query HKCU & hostname.exe"], "--guest",
                     "windows-api", "--behaviours", "windows-bypass")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assertEqual(result.actions("api_bypassed"), [])


class DirectSystemCalls(GuestTest):

    def test_a_call_that_passes_ntdll_by_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "direct_call.exe"
            compile_windows(SOURCES / "direct_call.c", program)
            result = run(["./direct_call.exe"], "--guest", "windows-api", "--copy", program,
                         "-e", "ntdll!NtOpenFile")
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        self.assert_nothing_lost(result)
        self.assertEqual(result.stdout.decode().split(), ["ntdll", "0", "direct", "0"])
        # No hook of ntdll sees it ...
        opened = [e for e in result.actions("api_called")
                  if e["process"]["name"].startswith("direct_call")
                  and "cmd.exe" in str(e["api"]["args"]["ObjectAttributes"])]
        self.assertEqual(len(opened), 1)
        # ... but that it was made is seen.
        told = [e["glasshook"]["bypass"] for e in result.actions("api_bypassed")]
        self.assertEqual(told, [{"origin": "direct_system_call", "function": "ntdll!NtOpenFile"}])

    def test_ordinary_programs_make_none(self):
        result = run(["cmd.exe", "/c", "reg.exe add HKCU\\Software\\x /v y /d z /f & hostname.exe & "
                      "echo text>x.txt & del x.txt"], "--guest", "windows-api", "--behaviours",
                     "windows-syscall")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assertEqual(result.actions("api_bypassed"), [])
