"""A table of the kernel that leads elsewhere is told. The test is the rootkit: it writes to the RAM."""

import json
import os
import pathlib
import re
import signal
import struct

from harness import glasshook
import test_watch


class KernelTables(test_watch.WatchedByHand):

    # Those of the base class are run there.
    test_attach_kill_the_monitor_and_attach_again = None
    test_qemu_killed_under_the_monitor = None
    test_looks_into_a_running_guest = None

    def address(self, symbol):
        lines = glasshook("symbols", "--vm", self.socket, "--json", symbol).stdout.splitlines()
        return next(int(s["address"], 16) for s in map(json.loads, lines) if s["name"] == symbol)

    def ram(self):
        """The machine's memory, to be written to."""
        for entry in pathlib.Path(f"/proc/{self.qemu.pid}/fd").iterdir():
            if "memfd:" in os.readlink(entry):
                ram = os.open(entry, os.O_RDWR)
                self.addCleanup(os.close, ram)
                return ram
        self.fail("no memory")

    def places(self, ram, content):
        """Where in the memory these bytes are."""
        size, step, found = os.fstat(ram).st_size, 1 << 24, set()
        for begin in range(0, size, step):
            block = os.pread(ram, step + len(content), begin)
            found.update(begin + m.start() for m in re.finditer(re.escape(content), block))
        return sorted(found)

    def test_system_call_redirected(self):
        first = [self.address(f"__x64_sys_{name}") for name in ("read", "write", "open", "close")]
        other = self.address("__x64_sys_getcwd")
        ram = self.ram()
        tables = self.places(ram, struct.pack("<4Q", *first))
        self.assertGreaterEqual(len(tables), 1)
        watching = self.watch_until_events(20)
        events = max(pathlib.Path(self.folder.name).glob("*.jsonl"))
        # 134 is uselib, which nobody calls.
        for table in tables:
            os.pwrite(ram, struct.pack("<Q", other), table + 134 * 8)
        watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.wait(30), 0)
        told = [e for e in map(json.loads, events.read_bytes().splitlines())
                if e["event"]["action"] == "kernel_table_changed"]
        self.assertEqual([(e["glasshook"]["table"]["name"], e["glasshook"]["table"]["index"],
                           e["glasshook"]["table"]["after"]) for e in told],
                         [("sys_call_table", 134, "__x64_sys_getcwd")])
        self.assertTrue(self.is_running())
