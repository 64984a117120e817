"""Hooks on exports of Windows modules, against a program that counts its own calls of them."""

import json
import pathlib
import signal
import subprocess
import tempfile
import time

from harness import GLASSHOOK, ROOT, GuestTest, compile_windows, end, glasshook, image_directory, run
from running_guest import boot_from, qemu_command

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"
MARK = 0x5EED
MARK_AS_TIME = "[1601-01-01T00:00:00.0024301Z]"  # MARK * 100 ns
# With sections at page boundaries of the file, Wine maps code from it; else it copies code.
MAPPED = "-Wl,--file-alignment,4096"


class CountedWindowsCalls(GuestTest):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        target, front = cls.folder / "count_target.dll", cls.folder / "count_front.dll"
        compile_windows(SOURCES / "count_target.c", target, SOURCES / "count_target.def", "-shared",
                        MAPPED)
        compile_windows(SOURCES / "count_front.c", front, SOURCES / "count_front.def", target,
                        "-shared")
        compile_windows(SOURCES / "count_apis.c", cls.folder / "count_apis.exe", front, target,
                        "-lws2_32")

    def count(self, threads, calls, *apis):
        """Runs the program; what it printed, and the events of the calls."""
        hooks = [word for api in apis for word in ("-e", api)]
        files = [word for name in ("count_apis.exe", "count_front.dll", "count_target.dll")
                 for word in ("--copy", self.folder / name)]
        result = run(["./count_apis.exe", threads, calls], "--guest", "windows-api", *hooks, *files,
                     subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        printed = [line.split() for line in result.stdout.decode().splitlines()]
        said = {word: int(number) for word, number in printed if word != "tid"}
        said["tids"] = {int(number) for word, number in printed if word == "tid"}
        self.assertEqual(len(said["tids"]), threads)
        return said, result.actions("api_called")

    def assert_made(self, said, made, threads, calls):
        """As many calls from each thread, all joined with their returns, under its Win32 ids."""
        self.assertEqual(len(made), threads * calls)
        per_thread = {}
        for event in made:
            ids = event["glasshook"]["windows"]
            self.assertEqual(ids["process_id"], said["pid"])
            per_thread[ids["thread_id"]] = per_thread.get(ids["thread_id"], 0) + 1
            self.assertIn("result", event["api"])
        self.assertEqual(per_thread, dict.fromkeys(said["tids"], calls))

    def test_every_way_that_leads_to_a_function(self):
        threads, calls = 4, 50
        said, made = self.count(threads, calls, "kernel32!CompareFileTime", "kernel32!HeapSize",
                                "ws2_32!#8", "count_front!*", "COUNT_TARGET.dll!#12")

        def those(name, argument, value):
            return [e for e in made if e["api"]["name"] == name
                    and e["api"]["args"][argument] == value]

        # Imported from kernel32, looked up in kernel32 and in kernelbase.
        times = those("CompareFileTime", "lpFileTime2", MARK_AS_TIME)
        self.assert_made(said, times, threads, 3 * calls)
        self.assertEqual({e["api"]["result"] for e in times}, {-1})
        # kernel32 forwards it to ntdll.
        sizes = those("HeapSize", "lpMem", said["block"])
        self.assert_made(said, sizes, threads, calls)
        self.assertEqual({e["api"]["result"] for e in sizes}, {77})
        # An ordinal whose export has a name and a signature.
        self.assert_made(said, those("htonl", "hostlong", MARK), threads, calls)
        # by_name is called itself, through the forwarder and through the stub. It has one hook,
        # which bears the name that led there first.
        self.assert_made(said, those("forwarded", "arg0", MARK), threads, 3 * calls)
        self.assertEqual(those("stub", "arg0", MARK), [])
        self.assert_made(said, those("#12", "arg0", MARK), threads, calls)

    def test_many_calls_from_many_threads(self):
        threads, calls = 8, 2500
        said, made = self.count(threads, calls, "count_target!by_name")
        self.assert_made(said, made, threads, 3 * calls)
        self.assertEqual({e["api"]["name"] for e in made}, {"by_name"})


class ManyWindowsCalls(GuestTest):
    """A cheap function, called by eight threads as often as they can."""

    THREADS = 8

    def count(self, calls, selected, take):
        """The threads and the hook's counters; api_called events go to `take` alone."""
        def is_other(event):
            if event["event"]["action"] != "api_called":
                return True
            take(event)
            return False

        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "many_calls.exe"
            compile_windows(SOURCES / "many_calls.c", program)
            result = run(["./many_calls.exe", self.THREADS, calls], "--guest", "windows-api",
                         "--copy", program, "-e", selected, "--quiet", subcommand="trace",
                         keep=is_other)
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        printed = [line.split() for line in result.stdout.decode().splitlines()]
        [counters] = [h for h in result.summary()["glasshook"]["summary"]["hooks"]
                      if h["name"] == "kernel32!CompareFileTime"]
        return [int(number) for word, number in printed if word == "tid"], counters

    def test_a_million_calls(self):
        per_thread, results, marks = {}, set(), set()

        def take(event):
            marks.add(event["api"]["args"]["lpFileTime2"])
            results.add(event["api"].get("result"))
            thread = event["glasshook"]["windows"]["thread_id"]
            per_thread[thread] = per_thread.get(thread, 0) + 1

        threads, counters = self.count(125_000, "kernel32!CompareFileTime", take)
        self.assertEqual(len(threads), self.THREADS)
        self.assertEqual(per_thread, dict.fromkeys(threads, 125_000))
        self.assertEqual(results, {-1}, "each joined with its return")
        self.assertEqual(marks, {MARK_AS_TIME})
        self.assertEqual((counters["hits"], counters["sent"], counters["returned"]),
                         (1_000_000, 1_000_000, 1_000_000))

    def test_a_rate_limit(self):
        told = []
        threads, counters = self.count(20_000, "kernel32!CompareFileTime/rate=500", told.append)
        made = self.THREADS * 20_000
        self.assertEqual(len(threads), self.THREADS)
        self.assertEqual(counters["hits"], made)
        self.assertEqual(made, sum(counters[n] for n in
                                   ("sent", "filtered", "rate_limited", "dropped")))
        self.assertEqual(len(told), counters["sent"])
        self.assertGreaterEqual(len(told), 500, "the burst")
        self.assertGreater(counters["rate_limited"], made // 2)
        self.assertTrue(all("result" in event["api"] for event in told))


class DecodedWindowsCalls(GuestTest):

    def test_arguments_errors_and_nesting(self):
        names = {"2": "ERROR_FILE_NOT_FOUND", "3": "ERROR_PATH_NOT_FOUND",
                 "3221225480": "STATUS_INVALID_HANDLE"}
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "fail_calls.exe"
            compile_windows(SOURCES / "fail_calls.c", program)
            result = run(["./fail_calls.exe"], "--guest", "windows-api", "--copy", program,
                         "-e", "kernel32!CreateFileW", "-e", "kernel32!DeleteFileW",
                         "-e", "advapi32!RegOpenKeyExW", "-e", "ntdll!NtClose",
                         "-e", "ntdll!NtCreateFile", subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        said = dict(line.split() for line in result.stdout.decode().splitlines())
        self.assertEqual(set(said), {"CreateFileW", "DeleteFileW", "RegOpenKeyExW", "NtClose"})
        calls = [e["api"] for e in result.actions("api_called")]

        def call(name, argument, value):
            [found] = [c for c in calls if c["name"] == name and c["args"].get(argument) == value]
            return found

        created = call("CreateFileW", "lpFileName", "C:\\no such folder\\x")
        self.assertEqual(created["error"], names[said["CreateFileW"]])
        self.assertEqual(created["args"]["dwCreationDisposition"], "OPEN_EXISTING")
        self.assertEqual(call("DeleteFileW", "lpFileName", "C:\\no such file")["error"],
                         names[said["DeleteFileW"]])
        opened = call("RegOpenKeyExW", "lpSubKey", "Software\\No such key")
        self.assertEqual(opened["error"], names[said["RegOpenKeyExW"]])
        self.assertEqual(opened["args"]["hKey"], "HKEY_LOCAL_MACHINE")
        closed = call("NtClose", "Handle", 0x5EED0)
        self.assertEqual(closed["error"], names[said["NtClose"]])
        # CreateFileW calls NtCreateFile, which is told first since it returns first.
        inner = calls[calls.index(created) - 1]
        self.assertEqual((inner["name"], inner["depth"], created["depth"]), ("NtCreateFile", 1, 0))
        self.assertIn("no such folder", json.dumps(inner["args"]))


class WindowsProcessesOfARunningGuest(GuestTest):
    """ps and modules look into a VM that was started by hand, while Wine's services run."""

    def setUp(self):
        image = image_directory("windows-api")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = f"{folder.name}/probe.sock"
        self.qemu = subprocess.Popen(
            qemu_command(image, self.socket, *boot_from(image)) +
            ["-append", (ROOT / "guests/windows-api/append").read_text().strip()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(end, self.qemu)

    def look(self, *command):
        return json_lines(glasshook(*command, "--vm", self.socket, "--json"))

    def services(self):
        """services.exe once its modules are loaded; empty before."""
        for process in self.look("ps"):
            if process.get("windows_image", "").endswith("services.exe"):
                modules = self.look("modules", process["pid"])
                if any(m["name"] == "userenv.dll" for m in modules):
                    return process, modules
        return None

    def test_programs_that_start_while_it_is_watched(self):
        deadline = time.monotonic() + 180
        while not self.look("ps"):  # the kernel is up; Wine comes later
            self.assertLess(time.monotonic(), deadline, "the kernel did not start")
            time.sleep(0.5)
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
            watch = subprocess.Popen(
                [GLASSHOOK, "watch", self.socket, "--behaviours", "windows-module", "--json",
                 out.name, "--quiet"], stdin=subprocess.DEVNULL)
            self.addCleanup(end, watch)

            def loaded():
                lines = pathlib.Path(out.name).read_bytes().splitlines(keepends=True)
                events = [json.loads(line) for line in lines if line.endswith(b"\n")]
                return {e["dll"]["name"].lower() for e in events
                        if e["event"]["action"] == "library_loaded"
                        and e["process"]["name"].startswith("services.exe")}

            # What services.exe is linked with.
            while not {"kernel32.dll", "advapi32.dll", "rpcrt4.dll"} <= loaded():
                self.assertIsNone(watch.poll(), "watch ended")
                self.assertLess(time.monotonic(), deadline, loaded())
                time.sleep(0.5)
            watch.send_signal(signal.SIGINT)
            self.assertEqual(watch.wait(60), 0)
        self.assertIsNone(self.qemu.poll(), "QEMU ended")

    def test_ids_parameters_and_modules(self):
        deadline = time.monotonic() + 180
        while not (found := self.services()):
            self.assertIsNone(self.qemu.poll(), "QEMU ended")
            self.assertLess(time.monotonic(), deadline, "Wine's services did not start")
            time.sleep(1)
        process, modules = found
        self.assertEqual(process["windows_image"], r"C:\windows\system32\services.exe")
        self.assertIn("services.exe", process["windows_command_line"])
        self.assertEqual(process["windows_directory"], "C:\\windows\\")
        self.assertNotEqual(process["windows_pid"], process["pid"])
        # What Linux says of the same process: the headers of each module are mapped at its base.
        headers = {a["start"]: pathlib.PurePath(a["path"]).name.lower()
                   for a in self.look("maps", process["pid"])
                   if a.get("inode") and a["file_offset"] == "0x0"}
        self.assertGreater(len(modules), 8)
        self.assertEqual([m["name"].lower() for m in modules],
                         [headers.get(m["address"]) for m in modules])
        self.assertEqual([m["name"] for m in modules[:2]], ["services.exe", "ntdll.dll"])
        refused = glasshook("modules", "1", "--vm", self.socket)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"no Windows process", refused.stderr)


def json_lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]
