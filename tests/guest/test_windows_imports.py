"""Import address tables of Windows programs that were changed."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"


class ReplacedImports(GuestTest):

    def test_replaced_imports_are_told(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "replace_imports.exe"
            compile_windows(SOURCES / "replace_imports.c", program)
            result = run(["./replace_imports.exe"], "--guest", "windows-api", "--copy", program)
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        said = [line.split("\t") for line in result.stdout.decode().splitlines()]
        self.assertEqual(said[3], ["called", "42", "7"])
        base = int(said[0][1], 16)
        own, nobody = (int(line[2], 16) for line in said[1:3])
        told = result.actions("import_replaced")
        self.assertEqual(
            [(e["process"]["name"].split(".")[0], int(e["glasshook"]["address"], 16),
              e["glasshook"]["import"]) for e in told],
            [("replace_imports", int(slot, 16),
              {"importer": "replace_imports", "function": function, "target": target})
             for slot, function, target in sorted(
                 [(said[1][1], "kernel32!GetVersion", f"replace_imports+{own - base:#x}"),
                  (said[2][1], "kernel32!GetTickCount", f"{nobody:#x}")],
                 key=lambda item: int(item[0], 16))])
        self.assert_fits_schema(told)

    def test_ordinary_programs_have_none(self):
        # They load many modules, and run long enough to be looked at several times.
        result = run(["cmd.exe", "/c", "reg.exe query HKCU & wmic.exe os get version & "
                      "ping.exe -n 6 127.0.0.1 & hostname.exe"], "--guest", "windows-api")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assertEqual(result.actions("import_replaced"), [])
