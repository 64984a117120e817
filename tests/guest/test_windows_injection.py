"""Windows processes that create, open, change and end others, against what the program did."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"
# By way of the program: what the whole is called, its technique, and the steps before it runs.
WAYS = {
    "thread": ("remote thread", "T1055.002",
               ["allocated memory", "wrote memory", "made memory executable", "created thread"]),
    "library": ("dll injection", "T1055.001",
                ["allocated memory", "wrote memory", "made memory executable", "created thread"]),
    "apc": ("asynchronous procedure call", "T1055.004",
            ["opened", "allocated memory", "wrote memory", "made memory executable", "queued APC"]),
    "hollowing": ("process hollowing", "T1055.012",
                  ["created suspended", "allocated memory", "wrote memory",
                   "made memory executable", "set thread context", "resumed thread"]),
    "hijacking": ("thread execution hijacking", "T1055.003",
                  ["allocated memory", "wrote memory", "made memory executable",
                   "suspended thread", "set thread context", "resumed thread"]),
    "section": ("remote thread", "T1055.002", ["mapped section", "created thread"]),
}


class Injection(GuestTest):

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            compile_windows(SOURCES / "inject.c", folder / "inject.exe")
            compile_windows(SOURCES / "end_77.c", folder / "end_77.dll", "-shared")
            cls.result = run(["./inject.exe"], "--guest", "windows-api", "--copy",
                             folder / "inject.exe", "--copy", folder / "end_77.dll",
                             "--behaviours", "process,windows-process,windows-injection")
        lines = [line.split("\t") for line in cls.result.stdout.decode().splitlines()]
        [(_, cls.own_id, cls.library)] = [line for line in lines if line[0] == "inject"]
        cls.said = {line[0]: line[1:] for line in lines if line[0] != "inject"}

    def setUp(self):
        self.assertEqual(self.result.code, 3, self.result.stdout.decode() + self.result.stderr[-2000:])
        self.assertEqual(list(self.said), [*WAYS, "terminated"])
        self.assert_nothing_lost(self.result)

    def told(self, action, child):
        """The events of the program's own that are about that child."""
        return [e for e in self.result.actions(action)
                if e["glasshook"]["windows"]["process_id"] == int(self.own_id)
                and e["glasshook"].get("target", {}).get("windows_process_id") == int(child)]

    def test_children_are_created_with_their_command_line_and_flags(self):
        for way, (child, *_) in self.said.items():
            [event] = self.told("process_created", child)
            target = event["glasshook"]["target"]
            self.assertEqual(target["executable"], r"C:\users\root\inject.exe")
            self.assertEqual(target["command_line"], r'"C:\users\root\inject.exe" wait')
            self.assertEqual(event["glasshook"].get("create", {}).get("flags"),
                             "CREATE_SUSPENDED" if way == "hollowing" else None)
        self.assertEqual(len(self.result.actions("process_created")), len(self.said))

    def test_each_way_is_one_story(self):
        stories = self.result.actions("process_injected")
        self.assertEqual(len(stories), len(WAYS))
        for way, (method, technique, steps) in WAYS.items():
            child, memory, size, start, status = self.said[way]
            self.assertEqual(status, "77", "what was injected has run")
            [story] = self.told("process_injected", child)
            shown = story["glasshook"]
            self.assertEqual(shown["injection"]["method"], method)
            self.assertEqual(story["threat"]["technique"]["id"], [technique])
            self.assertEqual(shown["injection"]["steps"], steps)
            self.assertEqual(shown["injection"].get("library"),
                             self.library if way == "library" else None)
            self.assertEqual((shown["address"], shown["bytes"]), ("0x" + memory, int(size)))
            self.assertEqual(shown["injection"]["start"], "0x" + start)

    def test_the_steps_with_their_addresses(self):
        for way in WAYS:
            child, memory, size, start, _ = self.said[way]
            if way == "section":
                [mapped] = self.told("process_section_mapped", child)
                self.assertEqual((mapped["glasshook"]["address"], mapped["glasshook"]["protection"]),
                                 ("0x" + memory, "PAGE_EXECUTE_READ"))
            else:
                [allocated] = self.told("process_memory_allocated", child)
                [written] = self.told("process_memory_written", child)
                [protected] = self.told("process_memory_protected", child)
                for event in (allocated, written, protected):
                    self.assertEqual(event["glasshook"]["address"], "0x" + memory)
                self.assertEqual(allocated["glasshook"]["protection"], "PAGE_READWRITE")
                self.assertEqual(protected["glasshook"]["protection"], "PAGE_EXECUTE_READ")
                self.assertEqual(written["glasshook"]["bytes"], int(size))
            threads = self.told("process_thread_created", child)
            self.assertEqual([t["glasshook"]["address"] for t in threads],
                             ["0x" + start] if way in ("thread", "library", "section") else [])
            contexts = self.told("process_context_set", child)
            self.assertEqual([c["glasshook"]["address"] for c in contexts],
                             ["0x" + start] if way in ("hollowing", "hijacking") else [])
            self.assertEqual(len(self.told("process_apc_queued", child)), way == "apc")
            self.assertEqual(len(self.told("process_suspended", child)), way == "hijacking")
            self.assertEqual(len(self.told("process_resumed", child)),
                             way in ("hollowing", "hijacking"))

    def test_opened_with_which_access(self):
        opened = self.result.actions("process_opened")
        self.assertEqual([e["glasshook"]["access"] for e in opened],
                         ["PROCESS_VM_OPERATION|PROCESS_VM_WRITE"])
        self.assertEqual(opened, self.told("process_opened", self.said["apc"][0]))

    def test_ends_by_whom_and_with_which_status(self):
        [ended] = self.told("process_terminated", self.said["terminated"][0])
        self.assertEqual(ended["glasshook"]["exit_status"], 9)
        themselves = {str(e["glasshook"]["windows"]["process_id"]): e["glasshook"]["exit_status"]
                      for e in self.result.actions("process_terminated")
                      if "target" not in e["glasshook"]}
        expected = {self.said[way][0]: 77 for way in WAYS} | {self.own_id: 3}
        self.assertEqual(themselves, expected)

    def test_targets_are_linked_to_the_processes_of_the_guest(self):
        child, *_ = self.said["thread"]
        [story] = self.told("process_injected", child)
        [itself] = [e for e in self.result.actions("process_terminated")
                    if e["glasshook"]["windows"]["process_id"] == int(child)]
        self.assertEqual(story["glasshook"]["target"]["entity_id"],
                         itself["process"]["entity_id"])
        self.assertEqual(story["glasshook"]["target"]["pid"], itself["process"]["pid"])
