"""Counting instead of timing: guest_overhead inside a machine whose clock is its instruction counter.

QEMU with -icount shift=0 advances the clock of its guest by one nanosecond an instruction. In that outer guest run the
same guest_overhead and the same VMs, emulated twice; the processor time of a vCPU's thread that it reads there is the
number of instructions that thread took, of QEMU, of generated code and of the kernel. It hardly depends on what else
this machine does. Each repetition of a string instruction counts; so the outer processor does not offer the fast
ones (ERMS, FSRM), and the C library takes wide moves instead, as it would for short blocks.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import places
import rows

TOOLS = ("/bin/sh", "/bin/mount", "/bin/touch")
SHARED = ("/usr/share/qemu", "/usr/share/seabios", "/etc/os-release", "/etc/passwd", "/etc/group",
          "/etc/ld.so.cache")
MEMORY = "3G"  # of the outer machine; an inner one has 512 MiB, and touches a third of it
GUESTS = {"relay": "windows-api"}  # of suites whose guest is another than linux
DIVISORS = {"guest": 10, "files": 5, "single": 10, "relay": 5}  # of the works' counts
CPU = "max,la57=off,-erms,-fsrm"


def libraries_of(program):
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return set(re.findall(r"(/\S+) \(0x", done.stdout.decode()))


def image_of(guest):
    done = subprocess.run([places.GLASSHOOK, "image", "list", "--json"], stdout=subprocess.PIPE, check=True)
    for image in map(json.loads, done.stdout.splitlines()):
        if image["name"] == guest and image["current"]:
            return pathlib.Path(image["directory"])
    raise RuntimeError(f"there is no image {guest}: glasshook image build {guest}")


class OuterDisk:
    """The root of the outer machine: files of this one, under their own names."""

    def __init__(self, folder):
        self.root = folder / "root"
        self.file = folder / "disk.raw"
        self.root.mkdir()

    def add(self, path):
        path = pathlib.Path(path)
        to = self.root / str(path).lstrip("/")
        if to.exists() or not path.exists():
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            subprocess.run(["cp", "-L", "--sparse=always", "--preserve=mode,timestamps", path, to], check=True)

    def add_program(self, path):
        self.add(path)
        for library in libraries_of(path):
            self.add(library)

    def finish(self, init):
        for name in ("proc", "sys", "dev", "run", "root", "sbin", "tmp", "var/tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("tmp", "var/tmp"):
            (self.root / name).chmod(0o1777)
        (self.root / "sbin/init").write_text(init)
        (self.root / "sbin/init").chmod(0o755)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-F", "-d", self.root,
                        self.file, "3G"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})


def init_script(qemu, command):
    """The outer machine's first program; when it ends, so does the machine."""
    # A snapshot belongs to the QEMU of that very time, which the copy does not keep to the nanosecond.
    stamp = os.stat(qemu).st_mtime_ns
    home = pathlib.Path.home()
    return "\n".join([
        "#!/bin/sh",
        f"export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME={home} GLASSHOOK_DATA={places.DATA}"
        f" GLASSHOOK_PLUGIN={os.path.realpath(places.PLUGIN)}"
        + (f" GLASSHOOK_CACHE={os.environ['GLASSHOOK_CACHE']}" if "GLASSHOOK_CACHE" in os.environ else ""),
        "mount -t proc proc /proc", "mount -t sysfs sys /sys", "mount -o remount,rw /", "mount -t tmpfs run /run",
        f"touch -d @{stamp // 10**9}.{stamp % 10**9:09d} {qemu}",
        command, 'echo "ended with $?"', ""])


def make_disk(folder, image, command):
    qemu = os.path.realpath(shutil.which("qemu-system-x86_64"))
    disk = OuterDisk(folder)
    for program in (qemu, places.PROGRAMS / "guest_overhead", places.PROGRAMS / "workload-dynamic",
                    places.PROGRAMS / "libempty_plugin.so", os.path.realpath(places.PLUGIN), *TOOLS):
        disk.add_program(program)
    build = places.PROGRAMS.parent  # known by its cache; holds what is generated of apis/windows
    for path in (*(places.PROGRAMS / name for name in ("workload", "registry.exe", "windows_calls.exe")),
                 build / "CMakeCache.txt", build / "apis", places.DATA / "apis", places.DATA / "guests", *SHARED):
        disk.add(path)
    for name in ("vmlinuz", "initrd", "disk.raw", "packages", "kernel-package"):
        disk.add(image / name)
    for snapshot in image.glob("snapshot-1cpu-512M-*"):
        disk.add(snapshot)
    if pathlib.Path(shutil.which("qemu-system-x86_64")) != pathlib.Path(qemu):
        disk.add(shutil.which("qemu-system-x86_64"))
    disk.finish(init_script(qemu, command))
    return disk.file


def outer_machine(disk, image):
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
            "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", CPU, "-m", MEMORY,
            "-machine", "q35", "-kernel", image / "vmlinuz", "-initrd", image / "initrd",
            "-drive", f"file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe", "-serial", "stdio",
            "-append", "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off"]


def as_counted(row):
    """Nanoseconds of the outer clock are instructions. What waiting took there says nothing."""
    counted = {"vcpu_seconds": ("host_instructions", 1e9), "monitor_seconds": ("monitor_instructions", 1e9),
               "events": ("counted_events", 1)}
    if row["metric"] not in counted:
        return None
    metric, factor = counted[row["metric"]]
    return {**row, "metric": metric, "value": round(row["value"] * factor)}


def count(suite, rounds):
    """The rows of a suite of guest_overhead, counted."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        program = f"{places.PROGRAMS / 'guest_overhead'} {suite} {rounds} {DIVISORS[suite]}"
        image = image_of(GUESTS.get(suite, "linux"))
        disk = make_disk(pathlib.Path(folder), image, program)
        done = subprocess.run(outer_machine(disk, image), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    text = done.stdout.decode(errors="replace")
    if "ended with 0" not in text:
        raise RuntimeError(f"the outer machine: {text[-1000:]}{done.stderr.decode(errors='replace')[-500:]}")
    counted = [as_counted(row) for row in rows.parse(text)]
    return [row for row in counted if row]
