"""What rootkits do to a kernel, done from outside: the test writes to the machine's memory."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import time

from harness import glasshook
from running_guest import RunningGuest

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
LARGE_PAGE = 1 << 21


class Rootkit(RunningGuest):
    """A guest whose kernel is changed while it is watched."""

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

    def image(self, ram):
        """How far the kernel's image is from its place in the memory."""
        calls = [self.address(f"__x64_sys_{name}") for name in ("read", "write", "open", "close")]
        table = self.address("sys_call_table")
        distances = [table - place for place in self.places(ram, struct.pack("<4Q", *calls))
                     if (table - place) % LARGE_PAGE == 0]
        self.assertEqual(len(distances), 1)
        return distances[0]

    @contextlib.contextmanager
    def paused(self):
        """The machine stands still meanwhile."""
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(10)
            qmp.connect(self.qmp)
            stream = qmp.makefile("rw")

            def say(command):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass

            stream.readline()
            say("qmp_capabilities")
            say("stop")
            yield
            say("cont")

    def told(self, *actions, keep=lambda event: True):
        """Events that `watch` has told so far."""
        file = max(pathlib.Path(self.folder.name).glob("*.jsonl"))
        lines = file.read_bytes().split(b"\n")[:-1]
        return [e for e in map(json.loads, lines) if e["event"]["action"] in actions and keep(e)]

    def wait_until_told(self, watching, count, *actions):
        deadline = time.monotonic() + 60
        while len(self.told(*actions)) < count and time.monotonic() < deadline:
            self.assertIsNone(watching.poll(), "watch ended")
            time.sleep(0.2)
        return self.told(*actions)

    def finish(self, watching):
        watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.wait(30), 0)


class WithOwnInit(Rootkit):
    """The guest runs `rooted_init.c` and nothing else."""

    # What enters the kernel need not be in the page tables of programs.
    append = "pti=off"

    def boot_arguments(self, image):
        return self.own_initrd(PROGRAMS / "rooted_init.c")

    def wait_for_processes(self):
        self.wait_for_process("loiterer")

    def give_the_sign(self, ram):
        """Makes init call kexec_load, which it never did before."""
        signs = self.places(ram, b"waiting for the sign: ")
        self.assertGreaterEqual(len(signs), 1)
        for sign in signs:
            os.pwrite(ram, b"W", sign)
