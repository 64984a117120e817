"""Watching a VM that somebody else started: attach late, lose the monitor, attach again."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

from harness import GLASSHOOK, GuestTest, ROOT, compile_c, end, glasshook, image_directory

PLUGIN = os.environ.get("GLASSHOOK_PLUGIN", str(ROOT / "build" / "libglasshook-qemu.so"))


PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


def cpio(files):
    """An initrd with these files, executable (Documentation/driver-api/early-userspace)."""
    archive = b""
    for name, content in [*files.items(), ("TRAILER!!!", b"")]:
        name = name.encode() + b"\0"
        fields = (0, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        archive += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    return archive


class RunningGuest(GuestTest):
    """QEMU is started as a user would; its init restarts programs all the time."""

    memory, smp, cpu, append = "512M", "1", "max", "pti=on"

    def setUp(self):
        image = image_directory()
        self.folder = tempfile.TemporaryDirectory()
        self.socket = f"{self.folder.name}/probe.sock"
        self.qmp = f"{self.folder.name}/qmp.sock"
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot",
             "-accel", "tcg", "-cpu", self.cpu, "-smp", self.smp, "-m", self.memory,
             "-object", f"memory-backend-memfd,id=ram,size={self.memory},share=on",
             "-machine", "q35,memory-backend=ram", "-nic", "none",
             "-kernel", image / "vmlinuz", *self.boot_arguments(image),
             "-append", f"console=ttyS0 quiet panic=-1 {self.append}", "-qmp", f"unix:{self.qmp},server=on,wait=off",
             "-plugin", f"{PLUGIN},socket={self.socket}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.qemu.stderr.close)
        self.addCleanup(end, self.qemu)
        self.wait_for_processes()

    def boot_arguments(self, image):
        return ["-initrd", image / "initrd",
                "-drive", f"file={image / 'disk.raw'},format=raw,if=virtio,snapshot=on"]

    def wait_for_processes(self):
        """Until the guest has loaded its modules and its init runs from the disk."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.assertIsNone(self.qemu.poll(), "QEMU ended")
            modules = glasshook("modules", "--vm", self.socket)
            done = glasshook("ps", "--vm", self.socket)
            if b"virtio_blk" in modules.stdout and b"init" in done.stdout:
                return
            time.sleep(1)
        self.fail("the guest did not come up: " + done.stderr.decode())

    def is_running(self):
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(10)
            qmp.connect(self.qmp)
            stream = qmp.makefile("rw")
            stream.readline()
            for command in ("qmp_capabilities", "query-status"):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                reply = json.loads(stream.readline())
            return reply["return"]["running"]

    def watch_until_events(self, count, *options):
        """Starts `watch` and waits for that many events; the process still watches."""
        path = f"{self.folder.name}/{time.monotonic()}.jsonl"
        process = subprocess.Popen([GLASSHOOK, "watch", self.socket, "--json", path, *options],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(end, process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            file = pathlib.Path(path)
            if file.exists() and file.read_bytes().count(b"\n") >= count:
                return process
            self.assertIsNone(process.poll(), "watch ended")
            time.sleep(0.2)
        self.fail("no events")


class MonitorsComeAndGo(RunningGuest):

    def own_memory(self):
        """Of QEMU, without the guest's RAM; MiB."""
        status = pathlib.Path(f"/proc/{self.qemu.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("RssAnon:")) // 1024

    def test_they_leave_nothing_in_qemu(self):
        hooks = [option for api in ("libc!*", "kernel!__x64_sys_*", "kernel!ext4_*", "kernel!tcp_*",
                                    "kernel!*_read*", "kernel!*_write*") for option in ("-e", api)]
        sizes = []
        for _ in range(12):
            watching = self.watch_until_events(5, *hooks)
            watching.send_signal(signal.SIGKILL)
            watching.wait()
            sizes.append(self.own_memory())
        # Translated code and its tables are there after a few.
        self.assertLess(sizes[-1] - sizes[3], 6, f"MiB after each monitor: {sizes}")


class WatchedByHand(RunningGuest):

    def test_attach_kill_the_monitor_and_attach_again(self):
        first = self.watch_until_events(20)
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1)
        self.assertTrue(self.is_running(), "the guest goes on without a monitor")
        second = self.watch_until_events(20)
        second.send_signal(signal.SIGINT)
        self.assertEqual(second.wait(30), 0)
        self.assertTrue(self.is_running())

    def test_qemu_killed_under_the_monitor(self):
        watching = self.watch_until_events(5)
        self.qemu.kill()
        self.qemu.wait()
        self.assertNotEqual(watching.wait(30), None)

    def test_the_monitor_is_confined(self):
        watching = self.watch_until_events(5, "-e", "libc!open*")
        threads = list(pathlib.Path(f"/proc/{watching.pid}/task").glob("*/status"))
        self.assertGreater(len(threads), 1)
        for thread in threads:
            status = dict(line.split(":", 1) for line in thread.read_text().splitlines())
            filters = 2  # SECCOMP_MODE_FILTER
            self.assertEqual((int(status["NoNewPrivs"]), int(status["Seccomp"])), (1, filters))

    def test_looks_into_a_running_guest(self):
        self.assertEqual(os.stat(self.socket).st_mode & 0o777, 0o600)
        modules = glasshook("modules", "--vm", self.socket)
        self.assertIn(b"virtio_blk", modules.stdout)
        symbols = glasshook("symbols", "--vm", self.socket, "vfs_rea?")
        self.assertIn(b"vfs_read", symbols.stdout)
        maps = glasshook("maps", "--vm", self.socket, "1")
        self.assertEqual(maps.returncode, 0, maps.stderr)
        self.assertIn(b"busybox", maps.stdout)


class BusyWithOneThing(WatchedByHand):
    """A guest whose only program spins: no processor halts, and no new code runs."""

    def boot_arguments(self, image):
        program = f"{self.folder.name}/init"
        compile_c(PROGRAMS / "spin.c", program, "-static")
        initrd = pathlib.Path(self.folder.name, "spin.cpio")
        initrd.write_bytes(cpio({"init": pathlib.Path(program).read_bytes()}))
        return ["-initrd", initrd]

    def wait_for_processes(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self.assertIsNone(self.qemu.poll(), "QEMU ended")
            done = glasshook("ps", "--vm", self.socket)
            if b"/init" in done.stdout:
                return
            time.sleep(1)
        self.fail("the guest did not come up: " + done.stderr.decode())

    def test_attach_kill_the_monitor_and_attach_again(self):
        for _ in range(2):
            watching = self.watch_until_events(20, "-e", "kernel!scheduler_tick")
            watching.send_signal(signal.SIGKILL)
            watching.wait()
            self.assertTrue(self.is_running())

    # The same whatever runs.
    test_qemu_killed_under_the_monitor = None
    test_looks_into_a_running_guest = None
    test_the_monitor_is_confined = None


class FourLevelsOneTable(WatchedByHand):
    """The same with 4-level paging, and kernel and programs in one page table."""

    cpu, append = "max,la57=off", "pti=off"

    # The same whatever the page tables.
    test_qemu_killed_under_the_monitor = None
    test_the_monitor_is_confined = None


class ManyProcessorsMuchMemory(WatchedByHand):
    """The same with RAM above the PCI hole."""

    memory, smp = "5G", "2"

    # The same whatever the size.
    test_qemu_killed_under_the_monitor = None
    test_the_monitor_is_confined = None
