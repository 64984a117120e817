"""What bench/peers.py reads other tools' opens with, on lines of real logs; its gdb client; its table."""

import json
import pathlib
import socket
import struct
import sys
import tempfile
import threading
import unittest

from harness import ROOT

sys.path.append(str(ROOT / "bench"))

from peer import gdb, logs, table  # noqa: E402
from peer.logs import Open  # noqa: E402

STRACE = rb"""132   openat(AT_FDCWD, "/dev/null", O_RDONLY <unfinished ...>
133   openat(AT_FDCWD, "/tmp/x2", O_WRONLY|O_CREAT|O_TRUNC, 0666 <unfinished ...>
132   <... openat resumed>)             = 0
166   <... newfstatat resumed>{st_mode=S_IFREG|0644, st_size=0, ...}, AT_EMPTY_PATH) = 0
133   <... openat resumed>)             = -1 ENOENT (No such file or directory)
132   openat2(AT_FDCWD, "/tmp/own/openat2-0000", {flags=O_RDONLY, resolve=0}, 24) = 4
164   <... read resumed>"open(\"no\") = 3", 131072) = 6
141   creat("/tmp/a \"b\"\303\274", 0644)     = 4
141   --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=145, si_uid=0, si_status=0} ---
146   +++ exited with 0 +++
"""

AUDIT = b"""type=SYSCALL msg=audit(1795718424.227:41): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c \
items=1 ppid=122 pid=186 comm="auditctl" exe="/usr/sbin/auditctl" subj=unconfined key="opens"\x1dARCH=x86_64
type=SYSCALL msg=audit(1795718424.235:42): arch=c000003e syscall=257 success=no exit=-2 comm=6F646420636F6D6D
type=CWD msg=audit(1795718424.227:41): cwd="/root"
type=PATH msg=audit(1795718424.227:41): item=0 name="/etc/ld.so.cache" inode=97 nametype=NORMAL cap_fp=0
type=PROCTITLE msg=audit(1795718424.227:41): proctitle=2F62696E2F7368002B69
type=PATH msg=audit(1795718424.235:42): item=0 name="/tmp/" inode=1 nametype=PARENT cap_fp=0
type=PATH msg=audit(1795718424.235:42): item=1 name=2F746D702F6F6464206E616D65 nametype=CREATE cap_fp=0
type=DAEMON_START msg=audit(1795718424.3:9): op=start ver=3.0.9
a line that was cut
"""

RELAY = rb"""0134:0138:Call KERNEL32.CreateFileW(14000e040 L"peers-own.txt",40000000,00000000) ret=14000198b
0134:0138:Call kernelbase.CreateFileW(14000e040 L"peers-own.txt",40000000,00000000) ret=1700484ff
0134:0138:Ret  kernelbase.CreateFileW() retval=00000030 ret=1700484ff
0134:0138:Ret  KERNEL32.CreateFileW() retval=00000030 ret=14000198b
0134:0138:Call KERNEL32.DeleteFileW(14000e040 L"peers-own-none.txt") ret=14000198b
0134:0138:Ret  KERNEL32.DeleteFileW() retval=00000000 ret=14000198b
0134:0138:Call advapi32.RegOpenKeyExW(80000001,14000e040 L"Software\\peers-own",00000000) ret=14000198b
0134:0138:Ret  advapi32.RegOpenKeyExW() retval=00000002 ret=14000198b
"""


class Logs(unittest.TestCase):

    def test_strace_joins_calls_that_others_interrupt(self):
        self.assertEqual(logs.strace(STRACE), [
            Open("132", "/dev/null", True), Open("133", "/tmp/x2", False),
            Open("132", "/tmp/own/openat2-0000", True), Open("141", '/tmp/a "b"ü', True)])

    def test_audit_joins_records_and_undoes_hexadecimal(self):
        self.assertEqual(logs.audit(AUDIT), [Open("auditctl", "/etc/ld.so.cache", True),
                                             Open("odd comm", "/tmp/odd name", False)])

    def test_bpftrace(self):
        said = b"Attaching 9 probes...\nopen\tcat\t12\t3\t/tmp/a\tb\nopen\tcat\t12\t-2\t/no\n\nopen\tcat\t1"
        self.assertEqual(logs.bpftrace(said), [Open("cat", "/tmp/a\tb", True), Open("cat", "/no", False)])
        self.assertEqual(logs.bpftrace_lost(b"Lost 12 events\nx\nLost 3 events\n"), 15)

    def test_relay_takes_what_the_program_called(self):
        self.assertEqual(logs.relay(RELAY), [
            Open("308", "peers-own.txt", True), Open("308", "peers-own-none.txt", False),
            Open("308", "Software\\peers-own", False)])

    def test_glasshook(self):
        def event(action, **more):
            return json.dumps({"event": {"action": action}, "process": {"name": "cat"}, **more})

        def call(module, result, **args):
            return event("api_called", api={"module": module, "args": args, **result})

        said = "\n".join([
            event("file_opened", file={"path": "/a"}), event("file_read", file={"path": "/a"}),
            call("kernel", {"result": 18394996253074412288}, pathname="/b"),
            call("kernel", {"result": 2**64 - 2}, pathname="/c"), call("kernel", {"result": -2}, pathname="/d"),
            call("kernel32", {"result": 0, "error": "ERROR_FILE_NOT_FOUND"}, lpFileName="e"),
            call("advapi32", {"result": "ERROR_SUCCESS"}, lpSubKey="f")])
        self.assertEqual([(o.path, o.opened) for o in logs.glasshook(said.encode())],
                         [("/a", True), ("/b", True), ("/c", False), ("/d", False), ("e", False), ("f", True)])

    def test_kinds_count_each_file_once_and_only_with_its_result(self):
        told = [Open("", path, good) for path, good in (
            ("/tmp/own/plain-0000", True), ("/tmp/own/plain-0000", True), ("plain-0001", False),
            ("relative-0001", True), ("/tmp/own/failing-0003", False), ("/tmp/own/failing-0004", True),
            ("/tmp/own/explain-00012", True))]
        self.assertEqual(logs.kinds_seen(told, ("plain", "relative", "failing", "deep")),
                         {"plain": 1, "relative": 1, "failing": 1, "deep": 0})
        self.assertEqual(logs.whole_paths(told, "/tmp/own/", "relative"), 0)
        self.assertEqual(logs.whole_paths(told, "/tmp/own/", "plain"), 1)


class Stub(threading.Thread):
    """A gdbstub whose guest stops where it is told: a list of (rip, rax, rsi, rsp)."""

    def __init__(self, path, memory, stops):
        super().__init__()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen()
        self.memory, self.stops, self.breakpoints = memory, stops, set()
        self.start()

    def answer(self, packet):
        if packet[:2] in (b"Z0", b"z0"):
            address = int(packet.split(b",")[1], 16)
            (self.breakpoints.add if packet[:1] == b"Z" else self.breakpoints.remove)(address)
            return b"OK"
        if packet == b"g":
            rip, rax, rsi, rsp = self.stops.pop(0)
            registers = [rax, 0, 0, 0, rsi, 0, 0, rsp, *[0] * 8, rip]
            return struct.pack("<17Q", *registers).hex().encode() + b"x" * 40
        if packet[:1] == b"m":
            address, size = (int(n, 16) for n in packet[1:].split(b","))
            found = self.memory.get(address)
            return found[:size].hex().encode() if found else b"E14"
        if packet == b"vCont;c":
            return b"T05thread:01;" if self.stops else None
        return b"OK" if packet == b"D" else b"T05thread:01;"

    def run(self):
        client, _ = self.server.accept()
        with client, self.server:
            while said := client.recv(4096):
                for packet in said.replace(b"\x03", b"$\x03#00").split(b"$")[1:]:
                    reply = b"T02thread:01;" if packet[:1] == b"\x03" else self.answer(packet.split(b"#")[0])
                    if reply is not None:
                        client.sendall(b"+$" + reply + b"#%02x" % (sum(reply) & 255))


class GdbClient(unittest.TestCase):

    def test_calls_with_path_and_result(self):
        entry, back, stack = 0x1000, 0x2000, 0x8000
        memory = {0x5000: struct.pack("<Q", 0x6000), stack: struct.pack("<Q", back),
                  0x6000: b"/etc/hostname\0more"}
        stops = [(entry, 0, 0x5000, stack), (back, 0xFFFF888000000000, 0, stack + 8),
                 (entry, 0, 0x5000, stack), (back, 2**64 - 2, 0, stack + 8),
                 (back, 7, 0, stack + 8)]  # of a call that began before
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder, "gdb.sock"))
            stub = Stub(path, memory, stops)
            watch = gdb.FunctionWatch(path, entry)
            watch.go_on()
            while stops:
                watch.readable()
            calls = watch.end()
            stub.join(10)
        self.assertEqual(calls, [(b"/etc/hostname", 0xFFFF888000000000), (b"/etc/hostname", 2**64 - 2)])
        self.assertEqual(stub.breakpoints, set())


class Table(unittest.TestCase):

    def rows(self, work, case, seconds, **more):
        return [{"work": work, "case": case, "round": round_ + 1, "metric": metric, "value": value, **more}
                for round_, value in enumerate(seconds)
                for metric, value in (("vcpu_seconds", value), ("qemu_seconds", value), ("monitor_seconds", 0.5))]

    def test_costs_are_compared_per_call(self):
        rows = self.rows("storm", "without", [1.0, 1.0, 9.0], made=100)
        rows += self.rows("storm", "strace -f", [3.0, 3.0, 3.0], made=100)
        rows += self.rows("storm", "gdbstub", [2.5, 2.5], made=10)
        costs = table.Costs(rows, "storm")
        self.assertAlmostEqual(costs.added("strace -f"), 0.02)
        self.assertAlmostEqual(costs.added("gdbstub"), 0.3 - 0.015)
        self.assertAlmostEqual(float(costs.times("gdbstub", "strace")), 14.2)

    def test_calls_of_windows_are_told_not_timed(self):
        rows = [row for case in ("without", "Wine's +relay") for row in self.rows("windows calls", case, [1.0] * 2)]
        rows.append({"work": "windows calls", "case": "Wine's +relay", "round": 1, "metric": "events", "value": 8,
                     "made": 8})
        self.assertEqual(table.table(rows)[:3], ["| told of the calls it made | Wine's +relay |", "|---|---|",
                                                 "| windows calls | 8 of 8 |"])

    def test_a_case_that_is_missing_is_named(self):
        rows = self.rows("storm", "without", [1.0], made=1) + [
            {"work": "all", "case": "sysdig", "round": 0, "metric": "missing", "value": "the reason"}]
        self.assertEqual(table.table(rows)[-1], "- sysdig, all: missing. the reason")


if __name__ == "__main__":
    unittest.main()
