"""Watching a VM that somebody else started: attach late, lose the monitor, attach again."""

import os
import pathlib
import signal
import time

from harness import glasshook
from running_guest import RunningGuest

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


class MonitorsComeAndGo(RunningGuest):

    def own_memory(self):
        """Of QEMU, without the guest's RAM; MiB."""
        status = pathlib.Path(f"/proc/{self.qemu.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines()
                    if line.startswith("RssAnon:")) // 1024

    def test_they_leave_nothing_in_qemu(self):
        hooks = [option for api in ("libc!*", "kernel!__x64_sys_*", "kernel!ext4_*", "kernel!tcp_*",
                                    "kernel!*_read", "kernel!*_write") for option in ("-e", api)]
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
        return self.own_initrd(PROGRAMS / "spin.c")

    def wait_for_processes(self):
        self.wait_for_process("/init")

    def test_attach_kill_the_monitor_and_attach_again(self):
        for _ in range(2):
            watching = self.watch_until_events(20, "-e", "kernel!update_process_times")
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
