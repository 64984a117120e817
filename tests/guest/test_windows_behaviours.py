"""What Windows programs do to files and the registry, against what the program itself says it did."""

import base64
import datetime
import pathlib
import tempfile

from harness import GuestTest, compile_windows, end, glasshook, read_events, run
from test_changing_hooks import Session

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"
FOLDERS = ("C:\\users\\root\\random", "Z:\\tmp\\random")
TYPES = {1: "REG_SZ", 2: "REG_EXPAND_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 7: "REG_MULTI_SZ",
         11: "REG_QWORD"}
ATTRIBUTES = {0x2: "hidden", 0x4: "system", 0x20: "archive", 0x80: "normal"}
# How much is captured of a buffer; of a value that is read, with the 12 bytes in front of it.
CAPTURED, HEADER = 1024, 12


class Anything:
    def __eq__(self, other):
        return True

    def __repr__(self):
        return "..."


def text(hexadecimal):
    return bytes.fromhex(hexadecimal).decode("utf-16-le", errors="replace")


def data_of(kind, raw, captured):
    """A value's data as events have it: type, texts, other bytes, whether it was cut."""
    cut = raw[:captured]
    name = TYPES.get(kind, hex(kind))
    if kind in (4, 11):
        return name, [str(int.from_bytes(raw, "little"))], None, False
    if kind in (1, 2, 7):
        texts = cut.decode("utf-16-le", errors="replace")
        if kind == 7:
            return name, texts.rstrip("\0").split("\0"), None, len(cut) < len(raw)
        return name, [texts.removesuffix("\0")], None, len(cut) < len(raw)
    return name, None, cut, len(cut) < len(raw)


class Expected:
    """The events that the lines of random_actions stand for, in order."""

    def __init__(self, lines):
        self.events, self.inherited = [], None
        self.operations = 0
        for line in lines:
            operation, ok, *parts = line.split("\t")
            self.operations += 1
            getattr(self, "on_" + operation.replace(" ", "_"))(ok == "1", *parts)

    def add(self, *event):
        self.events.append(event)

    def key(self, key):
        return self.root if key == "" else self.root + "\\" + text(key)

    def value(self, key, name):
        return self.key(key) + "\\" + (text(name) or "(Default)")

    def on_user(self, ok, sid):
        assert ok
        self.root = f"HKU\\{text(sid)}\\Software\\Glasshook Random"

    def on_create(self, ok, path, existed, brief, size, calls):
        if not ok:
            return
        path = text(path)
        self.add("file_created", path,
                 "FILE_OVERWRITTEN" if existed == "1" else "FILE_CREATED")
        if calls != "0":
            self.add("file_written", path, int(size), int(calls))
        if brief == "1":
            self.add("file_deleted", path)

    def on_read(self, ok, path, size, calls):
        if not ok:
            return
        self.add("file_opened", text(path))
        if calls != "0":
            self.add("file_read", text(path), int(size), int(calls))

    def on_resize(self, ok, path, size):
        if ok:
            self.add("file_opened", text(path))
            self.add("file_truncated", text(path), int(size))

    def on_move(self, ok, before, after, replace):
        if ok:
            self.add("file_renamed", text(before), text(after), replace == "1")

    def on_copy(self, ok, source, target, size):
        if not ok:
            return
        source, target = text(source), text(target)
        self.add("file_opened", source)
        self.add("file_created", target, "FILE_CREATED")
        self.add("file_times_changed", target, Anything())
        if size != "0":
            self.add("file_read", source, int(size), Anything())
            self.add("file_written", target, int(size), Anything())
        self.add("file_copied", source, target)

    def on_link(self, ok, source, target, _size):
        if ok:
            self.add("file_linked", text(source), text(target))

    def on_delete(self, ok, path):
        if ok:
            self.add("file_deleted", text(path))

    def on_attributes(self, ok, path, attributes):
        if ok:
            self.add("file_attribute_changed", text(path),
                     [name for bit, name in ATTRIBUTES.items() if int(attributes) & bit])

    def on_times(self, ok, path, ticks):
        if ok:
            self.add("file_times_changed", text(path), int(ticks))

    def on_mkdir(self, ok, path):
        if ok:
            self.add("directory_created", text(path))

    def on_list(self, ok, path):
        if ok:
            self.add("directory_listed", text(path))

    def on_rmdir(self, ok, path):
        if ok:
            self.add("directory_deleted", text(path))

    def on_key(self, ok, key, asks, disposition):
        if ok:
            action = "created" if asks == "1" and disposition == "1" else "opened"
            self.add(f"registry_key_{action}", self.key(key), asks == "0")

    def on_delete_key(self, ok, key):
        if ok:
            self.add("registry_key_opened", self.key(key), False)
            self.add("registry_key_deleted", self.key(key))

    def on_open_key(self, ok, key):
        if ok:
            self.add("registry_key_opened", self.key(key), False)

    def on_set(self, ok, key, name, kind, data=""):
        if ok:
            self.add("registry_value_set", self.value(key, name),
                     data_of(int(kind), bytes.fromhex(data), CAPTURED))

    def on_query(self, ok, key, name, kind, data=""):
        if ok:
            self.add("registry_value_queried", self.value(key, name),
                     data_of(int(kind), bytes.fromhex(data), CAPTURED - HEADER))

    def on_delete_value(self, ok, key, name):
        if ok:
            self.add("registry_value_deleted", self.value(key, name))

    def on_inherit(self, ok, path, child):
        assert ok
        self.add("file_created", text(path), "FILE_CREATED")
        self.inherited = text(path), int(child)


def ticks_of(time):
    """100 ns since 1601 of an ISO time."""
    whole, fraction = time.rstrip("Z").split(".")
    moment = datetime.datetime.fromisoformat(whole + "+00:00")
    start = datetime.datetime(1601, 1, 1, tzinfo=datetime.timezone.utc)
    return int((moment - start).total_seconds()) * 10_000_000 + int(fraction) // 100


def seen(event):
    """An event as Expected has it."""
    action, file = event["event"]["action"], event.get("file", {})
    own, registry = event["glasshook"], event.get("registry", {})
    if action.startswith("registry_value_deleted"):
        return action, registry["path"]
    if action.startswith("registry_value"):
        data = registry["data"]
        raw = base64.b64decode(data["bytes"]) if "bytes" in data else None
        return action, registry["path"], (data["type"], data.get("strings"), raw,
                                          own["registry"].get("data_truncated", False))
    if action == "registry_key_deleted":
        return action, registry["path"]
    if action.startswith("registry_key"):
        return action, registry["path"], own.get("registry", {}).get("maybe_created", False)
    path = file["path"]
    if action == "file_created":
        return action, path, own["open"]["disposition"]
    if action in ("file_read", "file_written"):
        return action, path, own["bytes"], own["operations"]
    if action == "file_truncated":
        return action, path, file["size"]
    if action == "file_renamed":
        return action, path, file["target_path"], "rename" in own
    if action in ("file_copied", "file_linked"):
        return action, path, file["target_path"]
    if action == "file_attribute_changed":
        return action, path, file["attributes"]
    if action == "file_times_changed":
        return action, path, ticks_of(file["mtime"])
    return action, path


class RandomActions(GuestTest):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.program = cls.folder / "random_actions.exe"
        compile_windows(SOURCES / "random_actions.c", cls.program, "-lntdll", "-ladvapi32")

    def assert_all_seen(self, result):
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        self.assert_fits_schema(result.events)
        expected = Expected(result.stdout.decode().splitlines())
        self.assertGreaterEqual(expected.operations, 400)

        def concerned(event):
            path = event.get("registry", {}).get("path") or event.get("file", {}).get("path", "")
            return path.startswith(FOLDERS) or path.startswith(expected.root)

        events = [e for e in result.events if concerned(e)]
        own = events[0]["process"]["entity_id"]
        found = [seen(e) for e in events if e["process"]["entity_id"] == own]
        for number, (is_seen, is_expected) in enumerate(zip(found, expected.events)):
            self.assertEqual(is_seen, is_expected, f"event {number}: {found[number - 2:number + 3]}")
        self.assertEqual(found[len(expected.events):], [], "events of nothing")
        self.assertEqual(expected.events[len(found):], [], "actions without events")
        # The child writes to a file by a handle that it never opened.
        path, child = expected.inherited
        [written] = [e for e in events if e["process"]["entity_id"] != own]
        self.assertEqual(seen(written), ("file_written", path, 14, 1))
        ids = {e["glasshook"]["windows"]["process_id"] for e in result.events
               if e.get("process", {}).get("entity_id") == written["process"]["entity_id"]
               and "windows" in e["glasshook"]}
        self.assertEqual(ids, {child})
        return events

    def run_seed(self, seed, *options):
        return run([str(self.program), str(seed), "500"], "--guest", "windows-api", *options)

    def test_one_seed(self):
        self.assert_all_seen(self.run_seed(1))

    def test_another_seed_recorded_and_replayed(self):
        recording, again = self.folder / "session.ghrec", self.folder / "again.jsonl"
        events = self.assert_all_seen(self.run_seed(77, "--record", recording))
        done = glasshook("replay", recording, "--json", again)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        replayed = {e["event"]["sequence"]: e for e in read_events(again) if "sequence" in e["event"]}
        for event in events:
            self.assertEqual(replayed[event["event"]["sequence"]], event)


class SharedHooks(GuestTest):
    """Functions that behaviours and the user want at once."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name in ("actions", "steady_values"):
            compile_windows(SOURCES / f"{name}.c", cls.folder / f"{name}.exe", "-ladvapi32")

    def test_one_hook_serves_both_and_calls_are_shown_by_the_names_given(self):
        # NtClose and ZwClose are one function; a rate may not blind the behaviours.
        result = run([str(self.folder / "actions.exe")], "--guest", "windows-api",
                     "-e", "ntdll!ZwClose", "-e", "ntdll!NtCreateFile/rate=1")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        hits = {}
        for hook in result.summary()["glasshook"]["summary"]["hooks"]:
            hits.setdefault(hook["name"], []).append(hook["hits"])
        self.assertNotIn("ntdll!ZwClose", hits)
        calls = [e["api"]["name"] for e in result.actions("api_called")]
        self.assertEqual(set(calls), {"ZwClose", "NtCreateFile"})
        self.assertEqual([calls.count("ZwClose")], hits["ntdll!NtClose"])
        self.assertEqual([calls.count("NtCreateFile")], hits["ntdll!NtCreateFile"])
        deleted = [e["file"]["path"] for e in result.actions("file_deleted")]
        said = [line.split("\t")[1] for line in result.stdout.decode().splitlines()
                if line.startswith("file_deleted")]
        self.assertEqual(deleted, said)

    def test_behaviours_miss_nothing_while_hooks_come_and_go(self):
        with tempfile.TemporaryDirectory() as folder:
            session = Session(self, pathlib.Path(folder), [str(self.folder / "steady_values.exe")],
                              "--guest", "windows-api", behaviours="default")
            self.addCleanup(end, session.process)
            session.wait_for_life()
            for _ in range(2):
                session.say("+ntdll!NtSetValueKey", "hooked ntdll!NtSetValueKey")
                session.wait_for_calls("NtSetValueKey", 20)
                session.say("+kernel32!Sleep", "hooked kernel32!Sleep")
                session.wait_for_calls("Sleep", 5)
                session.say("-ntdll!NtSetValueKey", "no longer hooked: ntdll!NtSetValueKey")
                calls = len(session.calls("NtSetValueKey"))
                session.wait_for_life()
                self.assertEqual(len(session.calls("NtSetValueKey")), calls)
                session.say("-kernel32!Sleep", "no longer hooked: kernel32!Sleep")
                session.wait_for_life()
            self.assertEqual(session.finish(), 130, session.said[-20:])
            events = read_events(session.json)
        numbers = [int(e["registry"]["data"]["strings"][0]) for e in events
                   if e.get("registry", {}).get("path", "").endswith("Glasshook Steady\\Count")]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreater(len(numbers), 50)
