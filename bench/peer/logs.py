"""The opens that each tool reported, read from what it wrote."""

import dataclasses
import json
import re

import relay_log
from strace_log import CALL, strings

OPENING = ("open", "openat", "openat2", "creat")


@dataclasses.dataclass(frozen=True)
class Open:
    """One open as a tool told it."""

    program: str  # its name, or its process id where the tool says no more
    path: str
    opened: bool


def strace(log):
    """`strace -f -o FILE`: a line a call, those that others interrupt in two parts."""
    found, begun = [], {}
    for line in log.decode("latin-1").split("\n"):
        pid, _, text = line.partition(" ")
        text = text.lstrip()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest := re.match(r"<\.\.\. \w+ resumed>(.*)", text, re.DOTALL):
            text = begun.pop(pid, "") + rest.group(1)
        call = CALL.match(text)
        if call and call.group(1) in OPENING:
            paths = strings(call.group(2))
            found.append(Open(pid, paths[0] if paths else "", call.group(3).isdigit()))
    return found


def bpftrace(log):
    """Lines that our program prints: name, process, result, path, with tabs between."""
    found = []
    for line in log.decode("utf-8", errors="surrogateescape").split("\n"):
        fields = line.split("\t", 4)
        if len(fields) == 5 and fields[0] == "open":
            found.append(Open(fields[1], fields[4], int(fields[3]) >= 0))
    return found


def bpftrace_lost(log):
    """How many events bpftrace says it lost."""
    return sum(map(int, re.findall(rb"Lost (\d+) events", log)))


def audit_text(value):
    """A field of an audit record: in quotes, or in hexadecimal when it holds odd bytes."""
    if value.startswith('"'):
        return value.strip('"')
    if re.fullmatch(r"(?:[0-9A-F]{2})+", value):
        return bytes.fromhex(value).decode("utf-8", errors="surrogateescape")
    return value


def audit(log):
    """auditd's log: the records of an event bear one serial number, one of them for each path."""
    events = {}
    for line in log.decode("latin-1").split("\n"):
        head = re.match(r"type=(\w+) msg=audit\([\d.]+:(\d+)\): ?(.*)", line)
        if not head:
            continue
        kind, serial, text = head.groups()
        fields = dict(re.findall(r'(\w+)=("[^"]*"|\S+)', text))
        event = events.setdefault(serial, {"paths": []})
        if kind in ("SYSCALL", "URINGOP"):
            event["call"] = fields
        elif kind == "PATH" and fields.get("nametype") != "PARENT":
            event["paths"].append(audit_text(fields.get("name", "(null)")))
    return [Open(audit_text(event["call"].get("comm", "?")), event["paths"][-1],
                 event["call"].get("success") == "yes")
            for event in events.values() if "call" in event and event["paths"]]


PATH_ARGUMENTS = ("pathname", "lpFileName", "lpSubKey")


def glasshook(log):
    """JSON Lines of file behaviours, or of calls of functions that name something."""
    found = []
    for line in log.splitlines():
        event = json.loads(line)
        action = event["event"]["action"]
        if action in ("file_opened", "file_created"):
            found.append(Open(event["process"]["name"], event["file"]["path"], True))
        elif action == "api_called":
            api = event["api"]
            path = next((api["args"][name] for name in PATH_ARGUMENTS if name in api["args"]), "")
            good = is_good(api.get("result")) if api["module"] == "kernel" else "error" not in api
            found.append(Open(event["process"]["name"], str(path), good))
    return found


def is_good(result):
    """Whether a kernel function's result, a pointer or a number, is no error (linux/err.h)."""
    return isinstance(result, int) and 0 <= result % 2**64 < 2**64 - 4095


def relay(log):
    """Wine's log: what programs call is in these modules, which lead on to others."""
    found = []
    for call in relay_log.parse(log.splitlines()):
        if call.module in ("KERNEL32", "advapi32") and call.texts() and call.result is not None:
            good = (call.result == 0) == call.function.startswith("Reg") and call.result % 2**32 != 2**32 - 1
            found.append(Open(str(call.pid), call.texts()[0], good))
    return found


def naming(found, text):
    """How many calls were told that name something with that text."""
    return sum(text in o.path for o in found)


def kinds_seen(found, kinds):
    """Of each kind of counted_opens.c, how many of its files were named, with the right result."""
    named = {(match.group(1), match.group(2)) for o in found
             if (match := re.search(r"(?:^|/)(\w+)-(\d{4})$", o.path))
             and o.opened == (match.group(1) != "failing")}
    return {kind: sum(k == kind for k, _ in named) for kind in kinds}


def whole_paths(found, folder, kind):
    """How many files of a kind were named with their directory."""
    return len({o.path for o in found if re.fullmatch(rf"{re.escape(folder)}{kind}-\d{{4}}", o.path)})
