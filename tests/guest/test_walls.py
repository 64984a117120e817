"""The two processes of `run`, monitor and QEMU, each behind its walls."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

from harness import GLASSHOOK, GuestTest, end


def status(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: value.split() for name, value in (line.split(":", 1) for line in text.splitlines())}


def children(pid):
    """Processes that it started and that have not ended."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = status(entry.name)
        except OSError:
            continue
        if fields["PPid"] == [str(pid)] and fields["State"][0] not in "ZX":
            found.append(int(entry.name))
    return found


class Walls(GuestTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        events = pathlib.Path(self.folder.name, "events.jsonl")
        self.errors = open(f"{self.folder.name}/errors", "w+")
        self.addCleanup(self.errors.close)
        self.monitor = subprocess.Popen(
            [GLASSHOOK, "run", "--json", events, "--", "sleep", "1000"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors)
        self.addCleanup(end, self.monitor)
        deadline = time.monotonic() + 60
        while not (events.exists() and b"sleep" in events.read_bytes()):
            self.assertIsNone(self.monitor.poll(), "run ended")
            self.assertLess(time.monotonic(), deadline, "nothing is seen")
            time.sleep(0.1)
        (self.qemu,) = children(self.monitor.pid)

    def test_no_wall_is_missing(self):
        self.errors.seek(0)
        self.assertNotIn("less confined", self.errors.read())

    def test_both_are_confined_and_of_different_users(self):
        monitor, qemu = status(self.monitor.pid), status(self.qemu)
        filters = ["2"]  # SECCOMP_MODE_FILTER
        for process in (monitor, qemu):
            self.assertEqual((process["NoNewPrivs"], process["Seccomp"]), (["1"], filters))
        self.assertEqual([int(mask, 16) for mask in qemu["CapPrm"] + qemu["CapBnd"]], [0, 0])
        of_its_own = ["pid", "net", "ipc"]
        if os.geteuid() == 0:
            users = {int(user) for process in (monitor, qemu) for user in process["Uid"]}
            self.assertEqual(len(users), 2)
            self.assertNotIn(0, users)
            self.assertEqual((monitor["Groups"], qemu["Groups"]), ([], []))
            kill_alone = 1 << 5  # CAP_KILL: QEMU is another user's
            self.assertEqual(int(monitor["CapPrm"][0], 16), kill_alone)
        else:
            of_its_own.append("user")
        self.assertEqual(qemu["NSpid"][1:], ["1"])
        for kind in of_its_own:
            self.assertNotEqual(os.readlink(f"/proc/{self.qemu}/ns/{kind}"),
                                os.readlink(f"/proc/self/ns/{kind}"))

    def test_nothing_leads_to_them_by_name(self):
        """No socket in a directory, and no file of theirs left behind."""
        arguments = pathlib.Path(f"/proc/{self.qemu}/cmdline").read_bytes().split(b"\0")
        plugin = arguments[arguments.index(b"-plugin") + 1]
        self.assertRegex(plugin, rb"^file=/proc/self/fd/\d+,fd=\d+$")
        environment = pathlib.Path(f"/proc/{self.qemu}/environ").read_bytes().split(b"\0")
        scratch = next(v.split(b"=", 1)[1] for v in environment if v.startswith(b"TMPDIR="))
        self.assertFalse(os.path.exists(scratch))

    def test_qemu_ends_with_a_killed_monitor(self):
        self.monitor.send_signal(signal.SIGKILL)
        self.monitor.wait()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if status(self.qemu)["State"][0] in "ZX":
                    return
            except OSError:
                return
            time.sleep(0.1)
        os.kill(self.qemu, signal.SIGKILL)
        self.fail("QEMU goes on without its monitor")

    def test_an_interrupt_ends_both(self):
        self.monitor.send_signal(signal.SIGINT)
        self.monitor.wait(30)
        self.assertFalse(os.path.exists(f"/proc/{self.qemu}/exe"))
