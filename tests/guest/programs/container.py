"""A container made by hand, for the guest: container.py CGROUP HOW PROGRAM ARGUMENT...

The root directory is an overlay with a C library of its own: other content and another name than
the machine's. The process is put into the control group CGROUP from outside, as container engines
do. HOW is "pivot" (own mount, pid, uts, ipc and network namespaces, pivot_root) or "chroot" (only
another root directory).
"""

import os
import pathlib
import shutil
import subprocess
import sys

cgroup, how, program, *arguments = sys.argv[1:]
box = pathlib.Path("/tmp/box")
libraries = "usr/lib/x86_64-linux-gnu"


def other_libc(libc):
    """The same code with other bytes where it does not matter: displacements of long no-ops."""
    changed = libc.replace(bytes.fromhex("662e0f1f840000000000"),
                           bytes.fromhex("662e0f1f840001000000"))
    assert changed != libc
    return changed


def make_root():
    box.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "box", box], check=True)
    for name in ("lower", "upper", "work", "root"):
        (box / name).mkdir()
    lower = box / "lower"
    for name in (libraries, "lib64", "bin", "data", "proc", "old"):
        (lower / name).mkdir(parents=True)
    libc = pathlib.Path("/", libraries, "libc.so.6").read_bytes()
    (lower / libraries / "libc-2.99.so").write_bytes(other_libc(libc))
    (lower / libraries / "libc.so.6").symlink_to("libc-2.99.so")
    (lower / "lib").symlink_to("usr/lib")
    shutil.copy("/lib64/ld-linux-x86-64.so.2", lower / "lib64")
    shutil.copy("/bin/busybox", lower / "bin")
    shutil.copy(program, lower / "app")
    for name in ("marker", "doomed", "child"):
        (lower / "data" / name).write_text(name)


ENTER = {
    "pivot": "exec unshare --mount --pid --uts --ipc --net --fork sh -c '"
             "mount --make-rprivate / && mount $OVERLAY && cd root && pivot_root . old && "
             "exec /bin/busybox chroot . /bin/busybox sh -c \""
             "/bin/busybox mount -t proc proc /proc && /bin/busybox umount -l /old && "
             "exec /app \\\"\\$@\\\"\" sh \"$@\"' sh \"$@\"",
    "chroot": "mount $OVERLAY && exec chroot root /app \"$@\"",
}

subprocess.run(["modprobe", "overlay"], check=True)
make_root()
group = pathlib.Path("/sys/fs/cgroup") / cgroup
group.mkdir(parents=True)
inner = subprocess.Popen(["sh", "-c", "read go; : >/tmp/moved; " + ENTER[how], "sh", *arguments],
                         stdin=subprocess.PIPE, cwd=box,
                         env={**os.environ, "OVERLAY": "-t overlay box -o lowerdir=/tmp/box/lower,"
                              "upperdir=/tmp/box/upper,workdir=/tmp/box/work /tmp/box/root"})
(group / "cgroup.procs").write_text(str(inner.pid))
inner.communicate(b"go\n")
sys.exit(inner.returncode)
