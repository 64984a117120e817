"""The ways to watch that are compared: each tells program, path and result of every open."""

import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from harness import GLASSHOOK, end

from peer import logs
from peer.gdb import FunctionWatch
from peer.guest import process_seconds

CALLS = ",".join(logs.OPENING)
KERNEL_FUNCTION = "do_filp_open"
BPFTRACE = """
tracepoint:syscalls:sys_enter_open, tracepoint:syscalls:sys_enter_openat,
tracepoint:syscalls:sys_enter_openat2 { @path[tid] = args->filename; }
tracepoint:syscalls:sys_enter_creat { @path[tid] = args->pathname; }
tracepoint:syscalls:sys_exit_open, tracepoint:syscalls:sys_exit_openat,
tracepoint:syscalls:sys_exit_openat2, tracepoint:syscalls:sys_exit_creat
/@path[tid]/ {
  printf("open\\t%s\\t%d\\t%d\\t%s\\n", comm, pid, args->ret, str(@path[tid]));
  delete(@path[tid]);
}
"""
AUDIT = f"""
auditctl -D && auditctl -b 8192 &&
auditctl -a always,exit -F arch=b64 -S {CALLS} -k opens &&
auditctl -a always,exit -F arch=b32 -S {CALLS} -k opens
auditctl -a always,io_uring -S openat,openat2 -k opens || true
"""


class Tool:
    """One way to watch a guest. This one does not."""

    name = "without"
    shares = "without"  # the tool whose VM it works in
    probe = False

    def missing(self):
        """Why it cannot be had here, or None."""
        return None

    def attach(self, guest):
        """Once, when the guest is up."""

    def detach(self):
        """Before the guest ends."""

    def begin(self, guest):
        """Before each work; what has to be served beside the guest's shell, or None."""

    def command(self, work):
        """The shell line that does the work."""
        return work

    def finish(self, guest):
        """After each work: the opens it told, and how many it says it lost."""
        return [], 0

    def outside_seconds(self):
        """Processor time so far of what works outside of the VM."""
        return 0.0


class Strace(Tool):
    name, options = "strace -f", "-f"

    def command(self, work):
        return f"strace {self.options} -o /tmp/strace.log {work}"

    def finish(self, guest):
        return logs.strace(guest.check("cat /tmp/strace.log; rm /tmp/strace.log")), 0


class StraceOpens(Strace):
    name, options = "strace -f --seccomp-bpf, opens only", f"-f --seccomp-bpf -e trace={CALLS}"


class Logged(Tool):
    """A tool that goes on writing one log in the guest."""

    log = ""

    def begin(self, guest):
        self.size = int(guest.check(f"stat -c %s {self.log}"))

    def read(self, guest):
        return guest.check(f"tail -c +{self.size + 1} {self.log}")


class Bpftrace(Logged):
    name = shares = "bpftrace, opens"
    log = "/tmp/bpftrace.log"

    def attach(self, guest):
        guest.check("busybox mount -t debugfs debug /sys/kernel/debug && cat >/tmp/opens.bt <<'END'\n"
                    + BPFTRACE + "\nEND")
        guest.check("busybox setsid bpftrace -o /tmp/bpftrace.log /tmp/opens.bt "
                    ">/tmp/bpftrace.err 2>&1 &\n"
                    "for i in $(seq 240); do cat /etc/hostname >/dev/null; sleep 0.5\n"
                    "grep -q /etc/hostname /tmp/bpftrace.log && exit 0; done\n"
                    "cat /tmp/bpftrace.err; exit 1")

    def begin(self, guest):
        super().begin(guest)
        self.lost = self.lost_so_far(guest)

    def finish(self, guest):
        return logs.bpftrace(self.read(guest)), self.lost_so_far(guest) - self.lost

    def lost_so_far(self, guest):
        return logs.bpftrace_lost(guest.check("cat /tmp/bpftrace.err /tmp/bpftrace.log"))


class Auditd(Logged):
    name = shares = "auditd, opens"
    log = "/tmp/audit.log"

    def attach(self, guest):
        guest.check("sed -i 's,^log_file = .*,log_file = /tmp/audit.log,; s,^max_log_file = .*,"
                    "max_log_file = 500,' /etc/audit/auditd.conf && mkdir -p /var/log/audit && auditd\n"
                    + AUDIT)

    def finish(self, guest):
        status = dict(line.split(" ", 1) for line in guest.check("auditctl -s").decode().splitlines()
                      if " " in line)
        return logs.audit(self.read(guest)), int(status["lost"])


class Gdbstub(Tool):
    name = shares = f"gdbstub, breakpoints at {KERNEL_FUNCTION}"

    def attach(self, guest):
        said = guest.check(f"grep ' {KERNEL_FUNCTION}$' /proc/kallsyms")
        self.address = int(said.split()[0], 16)

    def begin(self, guest):
        self.watch = FunctionWatch(guest.gdb, self.address)
        self.watch.go_on()
        return self.watch

    def finish(self, guest):
        return self.told, 0

    def end(self):
        self.told = [logs.Open("", path.decode(errors="surrogateescape"), logs.is_good(result))
                     for path, result in self.watch.end()]

    def outside_seconds(self):
        return time.process_time()  # the client is part of this process


class Glasshook(Tool):
    probe = True

    def __init__(self, name, *options):
        self.name = self.shares = name
        self.options = options

    def attach(self, guest):
        self.folder = tempfile.TemporaryDirectory()
        self.json = pathlib.Path(self.folder.name, "events.jsonl")
        self.watch = subprocess.Popen(
            [GLASSHOOK, "watch", guest.socket, "--json", self.json, *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for line in self.watch.stderr:
            if b"attached in" in line:
                break
        else:
            raise RuntimeError("glasshook watch ended")
        self.reader = threading.Thread(target=self.watch.stderr.read)
        self.reader.start()

    def detach(self):
        self.watch.send_signal(signal.SIGINT)
        self.watch.wait(60)
        self.reader.join()
        end(self.watch)
        self.folder.cleanup()

    def begin(self, guest):
        self.size = self.json.stat().st_size

    def finish(self, guest):
        with open(self.json, "rb") as file:
            file.seek(self.size)
            return logs.glasshook(file.read()), 0

    def outside_seconds(self):
        return process_seconds(self.watch.pid)


class Sysdig(Tool):
    name = "sysdig"

    def missing(self):
        return ("Debian's sysdig works with a kernel module alone, which it builds from source in the "
                "guest (compiler, kernel headers); the guest has neither")


def all_tools():
    return [Tool(), Strace(), StraceOpens(), Bpftrace(), Auditd(), Sysdig(), Gdbstub(),
            Glasshook("Glasshook, file behaviours", "--behaviours", "file"),
            Glasshook(f"Glasshook, -e kernel!{KERNEL_FUNCTION}", "--behaviours", "none", "-e",
                      f"kernel!{KERNEL_FUNCTION}")]
