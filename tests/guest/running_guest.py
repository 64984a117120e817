"""A VM that somebody else started: QEMU as a user would start it, with the plugin."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

from harness import GLASSHOOK, GuestTest, ROOT, compile_c, end, glasshook, image_directory

PLUGIN = os.environ.get("GLASSHOOK_PLUGIN", str(ROOT / "build" / "libglasshook-qemu.so"))


def cpio(files):
    """An initrd with these files, executable, and their folders (Documentation/driver-api/early-userspace)."""
    archive = b""
    folders = {str(folder) for name in files for folder in pathlib.PurePath(name).parents} - {"."}
    members = [(folder, 0o040755, b"") for folder in sorted(folders)] + [
        (name, 0o100755, content) for name, content in files.items()]
    for name, mode, content in [*members, ("TRAILER!!!", 0o100755, b"")]:
        name = name.encode() + b"\0"
        fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        archive += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    return archive


def boot_from(image, initrd=None):
    """The options that boot an image's disk."""
    return ["-initrd", initrd or image / "initrd",
            "-drive", f"file={image / 'disk.raw'},format=raw,if=virtio,snapshot=on"]


def qemu_command(image, probe, *options, memory="512M", smp="1", cpu="max", accelerator="tcg"):
    """QEMU with the kernel of an image, and the probe's socket there."""
    return ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
            "-accel", accelerator, "-cpu", cpu, "-smp", smp, "-m", memory,
            "-object", f"memory-backend-memfd,id=ram,size={memory},share=on",
            "-machine", "q35,memory-backend=ram", "-kernel", image / "vmlinuz",
            "-plugin", f"{PLUGIN},socket={probe}", *options]


class RunningGuest(GuestTest):
    """QEMU is started as a user would; its init restarts programs all the time."""

    memory, smp, cpu, append = "512M", "1", "max", "pti=on"

    def setUp(self):
        image = image_directory()
        self.folder = tempfile.TemporaryDirectory()
        self.socket = f"{self.folder.name}/probe.sock"
        self.qmp = f"{self.folder.name}/qmp.sock"
        self.qemu = subprocess.Popen(
            qemu_command(image, self.socket, *self.boot_arguments(image), memory=self.memory,
                         smp=self.smp, cpu=self.cpu) +
            ["-append", f"console=ttyS0 quiet panic=-1 {self.append}", "-qmp",
             f"unix:{self.qmp},server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.qemu.stderr.close)
        self.addCleanup(end, self.qemu)
        self.wait_for_processes()

    def boot_arguments(self, image):
        return boot_from(image)

    def wait_for_processes(self):
        """Until the guest has loaded its modules and its init runs from the disk."""
        self.wait_until(lambda: b"virtio_blk" in glasshook("modules", "--vm", self.socket).stdout)
        self.wait_for_process("init")

    def wait_for_process(self, text):
        """Until `ps` says that."""
        self.wait_until(lambda: text.encode() in glasshook("ps", "--vm", self.socket).stdout)

    def wait_until(self, is_up):
        deadline = time.monotonic() + 120
        while not is_up():
            self.assertIsNone(self.qemu.poll(), "QEMU ended")
            self.assertLess(time.monotonic(), deadline, "the guest did not come up")
            time.sleep(1)

    def own_initrd(self, source):
        """What boots a guest whose only program is compiled from that file."""
        program, initrd = pathlib.Path(self.folder.name, "init"), pathlib.Path(self.folder.name, "own.cpio")
        compile_c(source, program, "-static")
        initrd.write_bytes(cpio({"init": program.read_bytes()}))
        return ["-initrd", initrd]

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
