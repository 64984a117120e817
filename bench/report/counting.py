"""Counting instead of timing: guest_overhead inside a machine whose clock is its instruction counter.

QEMU with -icount shift=0 advances the clock of its guest by one nanosecond an instruction. In that outer guest run the
same guest_overhead and the same VMs, emulated twice; the processor time of a vCPU's thread that it reads there is the
number of instructions that thread took, of QEMU, of generated code and of the kernel. It hardly depends on what else
this machine does. Each repetition of a string instruction counts; so the outer processor does not offer the fast
ones (ERMS, FSRM), and the C library takes wide moves instead, as it would for short blocks.

Each processor gets an outer machine at a time, with a share of the rounds.
"""

import concurrent.futures
import dataclasses
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
MEMORY = 3 << 30  # of an outer machine; an inner one has 512 MiB, and touches a third of it
CPU = "max,la57=off,-erms,-fsrm"


@dataclasses.dataclass(frozen=True)
class Counted:
    """How a suite of guest_overhead is counted."""
    rounds: int  # of all outer machines together, at least
    divisor: int  # of the works' counts
    warm_ups: int = 1  # rounds of each outer machine that count for nothing
    guest: str = "linux"
    machines: int = 1  # at least: the VMs of two differ by more than the rounds of one


SUITES = {
    "guest": Counted(rounds=6, divisor=10),
    # Much smaller, and how differently programs start would outweigh the works.
    "files": Counted(rounds=8, divisor=2, machines=4),
    # After Python's first run, which is translated, two more take up to 1 % more than later ones, watched or not.
    "single": Counted(rounds=28, divisor=10, warm_ups=3),
    "relay": Counted(rounds=8, divisor=5, guest="windows-api"),
}


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
            "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", CPU, "-m",
            f"{MEMORY >> 20}M", "-machine", "q35", "-kernel", image / "vmlinuz", "-initrd", image / "initrd",
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


def machines_at_once():
    """One a processor, as far as three quarters of this machine's memory reach."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(min(os.cpu_count(), memory * 3 // 4 // MEMORY), 1)


def shares(rounds, machines):
    """The numbers of the rounds that count, a range for each of at most so many machines: the same length each."""
    each = -(-rounds // machines)
    return [range(first, first + each) for first in range(1, rounds + 1, each)]


def renumbered(found, warm_ups, share):
    """Rows of one outer machine, with the numbers its rounds have among those of all; rounds that warm up are 0."""
    return [{**row, "round": share.start + row["round"] - warm_ups if row["round"] >= warm_ups else 0}
            for row in found]


def run(machine):
    """The counted rows that an outer machine prints."""
    done = subprocess.run(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text = done.stdout.decode(errors="replace")
    if "ended with 0" not in text:
        raise RuntimeError(f"the outer machine: {text[-1000:]}{done.stderr.decode(errors='replace')[-500:]}")
    counted = [as_counted(row) for row in rows.parse(text)]
    return [row for row in counted if row]


def count(name):
    """The rows of a suite of guest_overhead, counted."""
    suite = SUITES[name]
    at_once = machines_at_once()
    parts = shares(suite.rounds, max(at_once, suite.machines))
    # guest_overhead makes one round more than it is told, to warm up.
    program = (f"{places.PROGRAMS / 'guest_overhead'} {name} {len(parts[0]) + suite.warm_ups - 1}"
               f" {suite.divisor}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        image = image_of(suite.guest)
        machine = outer_machine(make_disk(pathlib.Path(folder), image, program), image)
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            found = list(pool.map(lambda _: run(machine), parts))
    return [row for share, part in zip(parts, found) for row in renumbered(part, suite.warm_ups, share)]
