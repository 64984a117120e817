"""Windows programs in the Windows API guest: delivery, output, exit status, what is seen of them."""

import pathlib
import re
import tempfile

import relay_log
from harness import GuestTest, compile_windows, glasshook, run

SOURCES = pathlib.Path(__file__).parent / "programs" / "windows"
HOME = "/root/.wine/drive_c/users/root"


def in_windows(command, *options):
    return run(command, "--guest", "windows-api", *options)


def host_path(dos):
    """Where the guest's Linux has a path of drive C:."""
    assert dos.upper().startswith("C:\\"), dos
    return "/root/.wine/drive_c/" + dos[3:].replace("\\", "/")


class WindowsTest(GuestTest):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name in ("hello", "crash", "actions"):
            compile_windows(SOURCES / f"{name}.c", cls.folder / f"{name}.exe")
        compile_windows(SOURCES / "extra.c", cls.folder / "extra.dll", "-shared")
        compile_windows(SOURCES / "needs_extra.c", cls.folder / "needs_extra.exe",
                        cls.folder / "extra.dll")


class Programs(WindowsTest):

    def test_output_status_and_tree(self):
        sample = self.folder / "hello.exe"
        sample.chmod(0o644)  # a sample need not be executable on the host
        result = in_windows([str(sample), "3", "two words"], "--behaviours", "default,module")
        self.assertEqual(result.code, 3, result.stderr[-2000:])
        self.assertEqual(result.stdout.decode().splitlines(),
                         [r"hello from C:\users\root\hello.exe in C:\users\root",
                          "argument 1: 3", "argument 2: two words"])
        self.assertIn("hello, errors", result.stderr)
        executed = result.actions("process_executed")
        self.assertEqual([e["process"]["args"][1:] for e in executed],
                         [["./hello.exe", "3", "two words"]])
        self.assertIn(f"{HOME}/hello.exe",
                      [e["dll"]["path"] for e in result.actions("library_loaded")])
        [exited] = result.actions("process_exited")
        self.assertEqual(exited["process"]["exit_code"], 3)
        self.assertIn("./hello.exe 3 'two words'", result.stderr)
        self.assert_nothing_lost(result)

    def test_commands_of_the_guest(self):
        result = in_windows(["cmd.exe", "/c", r"hello.exe 5 & exit 6"],
                            "--copy", self.folder / "hello.exe")
        self.assertEqual(result.code, 6, result.stderr[-2000:])
        self.assertIn(b"argument 1: 5", result.stdout)
        codes = sorted(e["process"]["exit_code"] for e in result.actions("process_exited")
                       if e["process"]["exit_code"])
        self.assertEqual(codes, [5, 6])

    def test_server_services_and_desktop_run_already(self):
        result = in_windows(["sh", "-c", "cmd.exe /c ver; sleep 3; ps -eo args"],
                            "--behaviours", "none", "--quiet")
        running = result.stdout.decode()
        for program in ("wineserver64", "services.exe", "explorer.exe /desktop"):
            self.assertIn(program, running)

    def test_code_of_modules_is_mapped_from_their_files(self):
        result = in_windows(["sh", "-c", "cat /proc/$(pgrep -of '[s]ervices.exe')/maps"],
                            "--behaviours", "none", "--quiet")
        code = [line.split() for line in result.stdout.decode().splitlines()
                if line.split()[1][2] == "x"]
        files = {pathlib.PurePath(line[5]).name for line in code if len(line) > 5}
        for name in ("services.exe", "ntdll.dll", "kernel32.dll", "kernelbase.dll",
                     "advapi32.dll"):
            self.assertIn(name, files)

    def test_a_missing_dll(self):
        sample = self.folder / "needs_extra.exe"
        self.assertEqual(in_windows([sample.name]).code, 127, "no such file on the host")
        result = in_windows([str(sample)])
        self.assertEqual(result.code, 126, result.stderr[-2000:])
        self.assertIn("the guest has no extra.dll", result.stderr)
        self.assertIn("--copy extra.dll", result.stderr)
        result = in_windows([str(sample)], "--copy", self.folder / "extra.dll")
        self.assertEqual(result.code, 42, result.stderr[-2000:])

    def test_a_crash(self):
        result = in_windows([str(self.folder / "crash.exe")])
        self.assertEqual(result.code, 5, "the low eight bits of 0xc0000005")
        self.assertRegex(result.stderr, "Unhandled page fault on write access to 0+ ")

    def test_files_that_are_no_windows_programs(self):
        junk = self.folder / "junk.exe"
        junk.write_text("junk")
        done = glasshook("run", "--guest", "windows-api", "--", junk)
        self.assertEqual(done.returncode, 126)
        self.assertIn(b"does not begin with MZ", done.stderr)
        done = glasshook("run", "--guest", "windows-api", "--", self.folder / "extra.dll")
        self.assertEqual(done.returncode, 126)
        self.assertIn(b"is a DLL", done.stderr)
        done = glasshook("run", "--", self.folder / "hello.exe")
        self.assertEqual(done.returncode, 126)
        self.assertIn(b"--guest windows-api", done.stderr)


class Actions(WindowsTest):

    def test_files_are_seen_by_their_linux_paths(self):
        # Wine's server opens, renames and deletes files for the program, which reads and writes them.
        result = in_windows([str(self.folder / "actions.exe")], "--behaviours", "file,process",
                            "--all-processes")
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        log = [line.split("\t") for line in result.stdout.decode().splitlines()]
        self.assertIn("process_exited", [line[0] for line in log])

        def said(action):
            return [host_path(line[1]) for line in log if line[0] == action]

        work = said("directory_created")[0]

        def seen(action):
            return [e["file"]["path"] for e in result.actions(action)
                    if e["file"]["path"].startswith(work + "/")]

        copies = [host_path(line[2]) for line in log if line[0] == "file_copied"]
        self.assertEqual(sorted(seen("file_created")), sorted(said("file_created") + copies))
        self.assertEqual(seen("file_deleted"), said("file_deleted"))
        renamed = [(e["file"]["path"], e["file"]["target_path"])
                   for e in result.actions("file_renamed") if e["file"]["path"].startswith(work)]
        self.assertEqual(renamed, [(host_path(line[1]), host_path(line[2])) for line in log
                                   if line[0] == "file_renamed"])
        written = {e["file"]["path"]: e["file"]["size"] for e in result.actions("file_written")
                   if e["process"]["name"] == "actions.exe" and "path" in e["file"]}
        for line in log:
            if line[0] == "file_written":
                self.assertEqual(written[host_path(line[1])], int(line[2]))
        self.assert_nothing_lost(result)

    def test_relay_log_tells_the_same(self):
        result = in_windows([str(self.folder / "actions.exe")], "--behaviours", "none", "--quiet",
                            "--env", "WINEDEBUG=+pid,+relay")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        calls = relay_log.parse(result.stderr.encode().splitlines())
        log = [line.split("\t") for line in result.stdout.decode().splitlines()]
        own = [c for c in calls if 0x140000000 <= c.caller < 0x141000000]

        def texts(function, argument):
            return [c.arguments[argument].text for c in own if c.function == function]

        def said(action, field=1):
            return [line[field] for line in log if line[0] == action]

        opened = [line[1] for line in log if line[0] in ("file_created", "file_read")]
        self.assertEqual(texts("CreateFileA", 0), opened)
        self.assertEqual(texts("DeleteFileA", 0),
                         [p for p in said("file_deleted") if not p.endswith("brief.txt")])
        self.assertEqual(texts("RegSetValueExA", 1), said("value_set", 2))
        self.assertEqual(texts("CreateProcessA", 1), said("process_created", 3))
        writes = [c.arguments[2].value for c in own if c.function == "WriteFile"]
        self.assertEqual(writes, [int(n) for n in said("file_written", 2)])
        self.assertEqual({c.result for c in own if c.function == "RegSetValueExA"}, {0})
        # What kernel32 is asked to do, kernelbase and ntdll do.
        begin = calls.index(next(c for c in own if c.function == "CreateFileA"))
        inner = next(c for c in calls[begin + 1:] if c.function == "NtCreateFile")
        self.assertGreater(inner.depth, calls[begin].depth)
        child = re.compile(r'actions\.exe"? child')
        self.assertTrue(child.search(said("process_created", 3)[0]))
        self.assertEqual(len({c.pid for c in calls}), 2, "the program and its child")
