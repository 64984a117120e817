"""The story of Windows that `glasshook demo` plays, against what the dropper itself says it does."""

import pathlib
import re
import tempfile

from harness import GuestTest, Run, glasshook, read_events

# The lines of guests/demo/dropper.c, and what they tell.
LINES = {
    "dropper": r"a dropper begins: (?P<file>.+), process (?P<id>\d+)",
    "copy": r"it hides a copy of itself: (?P<file>.+)",
    "run": r"it comes back at every log-on: HKCU(?P<value>.+?) = (?P<data>.+)",
    "stage": r"it unpacks code: (?P<file>.+)",
    "child": r"it starts (?P<file>.+), process (?P<id>\d+), suspended",
    "code": r"it makes process (?P<id>\d+) run (?P<bytes>\d+) bytes at (?P<address>0x[0-9a-f]+)",
    "deleted": r"it deletes its traces: (?P<file>.+)",
    "last": r"process (?P<id>\d+) shall delete the last one, and end with (?P<status>\d+): (?P<file>.+)",
}


class WindowsStory(GuestTest):

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as name:
            file = pathlib.Path(name) / "events.jsonl"
            done = glasshook("demo", "windows", "--json", file, cwd=name)
            cls.result = Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"),
                             read_events(file) if file.exists() else [])
        said = re.findall(r"^story: (.*?)\r?$", cls.result.stderr, re.MULTILINE)
        cls.said = dict(zip(LINES, map(re.fullmatch, LINES.values(), said)))
        cls.count = len(said)

    def setUp(self):
        self.assertEqual(self.result.code, 0, self.result.stderr[-3000:])
        self.assertEqual(self.count, len(LINES))
        self.assertTrue(all(self.said.values()), self.result.stderr)
        self.assert_nothing_lost(self.result)
        [self.dropper] = {e["process"]["entity_id"] for e in self.result.events
                          if self.windows_id(e) == self.said["dropper"]["id"]}
        [self.child] = {e["process"]["entity_id"] for e in self.result.events
                        if self.windows_id(e) == self.said["child"]["id"]}

    @staticmethod
    def windows_id(event):
        return str(event["glasshook"].get("windows", {}).get("process_id"))

    def of(self, entity, *actions):
        return [e for e in self.result.actions(*actions)
                if e["process"]["entity_id"] == entity]

    def at_child(self, event):
        return event["glasshook"].get("target", {}).get("windows_process_id") == \
            int(self.said["child"]["id"])

    def test_processes(self):
        [created] = self.of(self.dropper, "process_created")
        target = created["glasshook"]["target"]
        self.assertTrue(self.at_child(created))
        self.assertEqual(target["executable"], self.said["child"]["file"])
        self.assertEqual(target["command_line"], "svchost.exe -k netsvcs")
        self.assertEqual(created["glasshook"]["create"]["flags"], "CREATE_SUSPENDED")
        [ended] = self.of(self.dropper, "process_exited")
        self.assertEqual(ended["process"]["exit_code"], 0)
        [ended] = self.of(self.child, "process_exited")
        self.assertEqual(ended["process"]["exit_code"], int(self.said["last"]["status"]))
        # In the tree the child is the dropper's, with the process between them that Wine forks.
        [started] = self.of(self.child, "process_started")
        [between] = [e for e in self.result.actions("process_started")
                     if e["process"]["entity_id"] == started["process"]["parent"]["entity_id"]]
        self.assertEqual(between["process"]["parent"]["entity_id"], self.dropper)
        tree = self.result.stderr[self.result.stderr.rindex("\nsh ./dropper.sh ["):]
        self.assertRegex(tree, r"(?s)─ \./dropper\.exe .*─ svchost\.exe -k netsvcs .*exit code 42")

    def test_the_hidden_copy(self):
        [copied] = self.of(self.dropper, "file_copied")
        self.assertEqual((copied["file"]["path"], copied["file"]["target_path"]),
                         (self.said["dropper"]["file"], self.said["copy"]["file"]))
        [hidden] = self.of(self.dropper, "file_attribute_changed")
        self.assertEqual((hidden["file"]["path"], hidden["file"]["attributes"]),
                         (self.said["copy"]["file"], ["hidden"]))

    def test_the_run_key(self):
        persistence = [e for e in self.result.actions("registry_value_set") if "threat" in e]
        [value] = persistence
        self.assertEqual(value["process"]["entity_id"], self.dropper)
        self.assertEqual(value["threat"]["technique"]["id"], ["T1547.001"])
        self.assertRegex(value["registry"]["path"],
                         r"^HKU\\S-1-5-[0-9-]+" + re.escape(self.said["run"]["value"]) + "$")
        self.assertEqual(value["registry"]["data"],
                         {"type": "REG_SZ", "strings": [self.said["run"]["data"]]})
        self.assertIn("set autostart value", self.result.stderr)

    def test_the_injection(self):
        [story] = self.result.actions("process_injected")
        self.assertEqual(story["process"]["entity_id"], self.dropper)
        self.assertTrue(self.at_child(story))
        shown = story["glasshook"]
        code = self.said["code"]
        self.assertEqual((shown["address"], str(shown["bytes"])), (code["address"], code["bytes"]))
        self.assertEqual(shown["injection"]["start"], code["address"])
        self.assertEqual(shown["injection"]["method"], "process hollowing")
        self.assertEqual(story["threat"]["technique"]["id"], ["T1055.012"])
        self.assertEqual(shown["injection"]["steps"],
                         ["created suspended", "allocated memory", "wrote memory",
                          "made memory executable", "set thread context", "resumed thread"])
        self.assertEqual(shown["target"]["name"], "svchost.exe")

    def test_the_traces(self):
        deleted = {e["file"]["path"]: e["process"]["entity_id"]
                   for e in self.result.actions("file_deleted")}
        self.assertEqual(self.said["deleted"]["file"], self.said["stage"]["file"])
        self.assertEqual(deleted, {self.said["stage"]["file"]: self.dropper,
                                   self.said["dropper"]["file"]: self.child})

    def test_people_are_shown_changes_by_the_names_of_programs(self):
        live = self.result.stderr[:self.result.stderr.rindex("\nsh ./dropper.sh [")]
        self.assertNotIn("read value", live)
        last = re.escape(self.said["dropper"]["file"])
        self.assertRegex(live, rf"(?m)^ *[0-9.]+ svchost\.exe +\d+  deleted +{last}$")


class Stories(GuestTest):

    def test_one_that_is_not_known(self):
        done = glasshook("demo", "novel")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"linux or windows", done.stderr)
