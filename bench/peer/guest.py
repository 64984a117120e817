"""A VM as a user would start it, its shell, and the processor time it takes on this machine."""

import io
import json
import os
import pathlib
import re
import select
import socket
import subprocess
import tarfile
import tempfile
import time

from harness import ROOT, end, image_directory
from running_guest import PLUGIN, boot_from

MEMORY = "1G"  # bpftrace needs more than 512 MiB to compile its programs
START_SECONDS = 240
WORK_SECONDS = 300


def process_seconds(pid):
    """Processor time of a process, all its threads (clock_getcpuclockid(3), Linux's layout)."""
    return time.clock_gettime(((~pid) << 3) | 2)


def archive(files):
    """The files, executable, as a tar that a raw disk can be."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file in files:
            info = tar.gettarinfo(file, arcname=pathlib.Path(file).name)
            info.mode = 0o755
            with open(file, "rb") as content:
                tar.addfile(info, content)
    return out.getvalue()


class Guest:
    """One VM with one vCPU. It is stopped unless somebody works in it."""

    def __init__(self, name, files, *, probe=False, counted=False, append=""):
        """`files` go to /root. `probe`: with Glasshook's plugin. `counted`: with -icount, so that
        instructions can be counted; the guest's clock then counts instructions too."""
        self.folder = tempfile.TemporaryDirectory()
        self.socket, self.gdb = (f"{self.folder.name}/{n}" for n in ("probe.sock", "gdb.sock"))
        image = image_directory(name)
        delivery = pathlib.Path(self.folder.name, "delivery.tar")
        delivery.write_bytes(archive(files))
        ends = [socket.socketpair() for _ in range(2)]
        (self.control, control), (self.qmp, qmp) = ends
        recipe = (ROOT / "guests" / name / "append").read_text().strip()
        command = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
            "-accel", "tcg,thread=" + ("single" if counted else "multi"), "-cpu", "max", "-smp", "1",
            "-m", MEMORY, "-object", f"memory-backend-memfd,id=ram,size={MEMORY},share=on",
            "-machine", "q35,memory-backend=ram", "-kernel", image / "vmlinuz", *boot_from(image),
            "-append", f"{recipe} {append}",
            "-drive", f"file={delivery},format=raw,if=virtio,readonly=on",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=control,fd={control.fileno()}",
            "-device", "virtserialport,chardev=control,name=control",
            "-chardev", f"socket,id=qmp,fd={qmp.fileno()}", "-mon", "chardev=qmp,mode=control",
            "-gdb", f"unix:{self.gdb},server=on,wait=off"]
        if counted:
            command += ["-icount", "shift=0,sleep=off"]
        if probe:
            command += ["-plugin", f"{PLUGIN},socket={self.socket}"]
        complaints = pathlib.Path(self.folder.name, "qemu.log")
        with open(complaints, "wb") as log:
            self.qemu = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=log,
                                         pass_fds=(control.fileno(), qmp.fileno()))
        control.close()
        qmp.close()
        self.stream = self.qmp.makefile("rw")
        self.heard = b""
        self.runs = True
        try:
            self.stream.readline()
            self.command("qmp_capabilities")
            self.thread = self.find_thread()
            self.prepare()
        except (RuntimeError, OSError, ValueError) as error:
            said = complaints.read_text(errors="replace").strip()
            self.close()
            raise RuntimeError(f"the VM did not start: {error}; QEMU said: {said}") from error
        except BaseException:
            self.close()
            raise

    def prepare(self):
        self.check("busybox mount -o remount,rw / && tar -xf /run/guest/delivery -C /root",
                   START_SECONDS)

    def command(self, name):
        """A command of QMP without arguments."""
        self.stream.write(json.dumps({"execute": name}) + "\n")
        self.stream.flush()
        while True:
            reply = json.loads(self.stream.readline())
            if "error" in reply:
                raise RuntimeError(f"QEMU refuses {name}: {reply['error']}")
            if "return" in reply:
                return reply["return"]

    def find_thread(self):
        thread = self.command("query-cpus-fast")[0]["thread-id"]
        return f"/proc/{self.qemu.pid}/task/{thread}/schedstat"

    def resume(self):
        if not self.runs:
            self.command("cont")
        self.runs = True

    def pause(self):
        if self.runs:
            self.command("stop")
        self.runs = False

    def vcpu_seconds(self):
        """Documentation/scheduler/sched-stats.rst: nanoseconds on a processor come first."""
        return int(pathlib.Path(self.thread).read_text().split()[0]) / 1e9

    def qemu_seconds(self):
        return process_seconds(self.qemu.pid)

    def instructions(self):
        """What the guest has executed; of a counted guest."""
        return self.command("query-replay")["icount"]

    def begin(self, line):
        """Has the guest's shell run a line; its end is awaited with finish()."""
        self.nonce = os.urandom(8).hex()
        self.control.sendall(f"( {line}\n) </dev/null; status=$?; echo; "
                             f"echo {self.nonce} status $status\n".encode())

    def finish(self, seconds=WORK_SECONDS, beside=None):
        """(exit status, what it printed) of the line that was begun. `beside`, something with a
        descriptor, is told (`readable()`) whenever that can be read."""
        mark = re.compile(rb"\n" + self.nonce.encode() + rb" status (\d+)\n")
        end_at = time.monotonic() + seconds
        while not (found := mark.search(self.heard)):
            ready = select.select([self.control] + ([beside] if beside else []), [], [],
                                  max(0, end_at - time.monotonic()))[0]
            if not ready:
                raise RuntimeError("the guest's shell does not answer")
            if beside in ready:
                beside.readable()
            if self.control in ready:
                chunk = self.control.recv(1 << 20)
                if not chunk:
                    raise RuntimeError("QEMU ended")
                self.heard += chunk
        said, self.heard = self.heard[:found.start()], self.heard[found.end():]
        return int(found.group(1)), said

    def line(self, line, seconds=WORK_SECONDS):
        self.begin(line)
        return self.finish(seconds)

    def check(self, line, seconds=WORK_SECONDS):
        """What a line printed that has to succeed."""
        status, said = self.line(line, seconds)
        if status != 0:
            raise RuntimeError(f"`{line}` ended with {status}: {said[-500:].decode(errors='replace')}")
        return said

    def close(self):
        end(self.qemu)
        self.control.close()
        self.qmp.close()
        self.folder.cleanup()
