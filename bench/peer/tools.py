"""The ways to watch that are compared: each tells program, path and result of every open."""

import pathlib
import re
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
"""


class Tool:
    """One way to watch a guest. This one does not."""

    name = "without"
    shares = "without"  # the tool whose VM it works in
    probe = False
    in_guest = True  # what it costs are instructions of the guest
    fewer = 1  # it gets one of so many opens of the storm
    most_rounds = 1000

    def missing(self):
        """Why it cannot be had here, or None."""
        return None

    def attach(self, guest):
        """Once, when the guest is up."""

    def detach(self):
        """Before the guest ends, which may be stopped."""

    def begin(self, guest):
        """Before each work; what has to be served beside the guest's shell, or None."""

    def command(self, work):
        """The shell line that does the work."""
        return work

    def end_work(self):
        """Right after each work."""

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


class Bpftrace(Tool):
    name = shares = "bpftrace, opens"

    def attach(self, guest):
        guest.check("busybox mount -t debugfs debug /sys/kernel/debug && cat >/tmp/opens.bt <<'END'\n"
                    + BPFTRACE + "\nEND")
        guest.check("busybox setsid bpftrace /tmp/opens.bt >/tmp/bpftrace.log 2>/tmp/bpftrace.err &\n"
                    "for i in $(seq 240); do sleep 0.5; for i in $(seq 300); do : </etc/hosts; done\n"
                    "grep -q /etc/hosts /tmp/bpftrace.log && exit 0; done\n"
                    "cat /tmp/bpftrace.err; exit 1")

    def begin(self, guest):
        self.offset, self.lost = self.flush(guest)

    def finish(self, guest):
        offset, lost = self.flush(guest)
        said = guest.check(f"tail -c +{self.offset + 1} /tmp/bpftrace.log")
        return logs.bpftrace(said[:offset - self.offset]), lost - self.lost

    def flush(self, guest):
        """How much it has written, up to here. It writes when its buffer is full, so give it more."""
        mark = f"/tmp/mark-{time.monotonic_ns()}"
        said = guest.check(f": >{mark}; for i in $(seq 300); do : </etc/hosts; done; sleep 0.5\n"
                           f"grep -b {mark} /tmp/bpftrace.log; cat /tmp/bpftrace.err")
        if mark.encode() not in said:
            raise RuntimeError("bpftrace did not write what it saw")
        return int(said.split(b":")[0]), logs.bpftrace_lost(said)


class Auditd(Tool):
    name = shares = "auditd, opens"

    def attach(self, guest):
        guest.check("sed -i 's,^log_file = .*,log_file = /tmp/audit.log,; s,^max_log_file = .*,"
                    "max_log_file = 500,' /etc/audit/auditd.conf && mkdir -p /var/log/audit && auditd\n"
                    + AUDIT)

    def begin(self, guest):
        self.size, self.lost = int(guest.check("stat -c %s /tmp/audit.log")), self.lost_so_far(guest)

    def finish(self, guest):
        return (logs.audit(guest.check(f"tail -c +{self.size + 1} /tmp/audit.log")),
                self.lost_so_far(guest) - self.lost)

    def lost_so_far(self, guest):
        return int(re.search(rb"^lost (\d+)$", guest.check("auditctl -s"), re.MULTILINE).group(1))


class Gdbstub(Tool):
    name = shares = f"gdbstub, breakpoints at {KERNEL_FUNCTION}"
    in_guest = False
    fewer, most_rounds = 50, 1  # what is slower by orders of magnitude need not be asked often

    def attach(self, guest):
        said = guest.check(f"grep ' {KERNEL_FUNCTION}$' /proc/kallsyms")
        self.address = int(said.split()[0], 16)

    def begin(self, guest):
        self.watch = FunctionWatch(guest.gdb, self.address)
        self.watch.go_on()
        return self.watch

    def finish(self, guest):
        return self.told, 0

    def end_work(self):
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
        return ("Debian has its driver, kernel module or eBPF program, as source alone, to be built in the "
                "guest with a compiler and the headers of its kernel; the guest has neither")


WINDOWS_CALLS = ("kernel32!CreateFileW", "kernel32!GetFileAttributesW", "kernel32!DeleteFileW",
                 "advapi32!RegOpenKeyExW")


class Relay(Tool):
    name = "Wine's +relay"

    def command(self, work):
        return f"WINEDEBUG=+pid,+relay {work} 2>/tmp/relay.log"

    def finish(self, guest):
        return logs.relay(guest.check("cat /tmp/relay.log; rm /tmp/relay.log")), 0


class RelayFew(Relay):
    name = shares = "Wine's +relay of these functions only"

    def attach(self, guest):
        included = ";".join(call.replace("!", ".") for call in WINDOWS_CALLS)
        guest.check(r"reg.exe add 'HKCU\Software\Wine\Debug' /v RelayInclude /t REG_SZ "
                    f"/d '{included}' /f")


def linux_tools():
    return [Tool(), Strace(), StraceOpens(), Bpftrace(), Auditd(), Sysdig(), Gdbstub(),
            Glasshook("Glasshook, file behaviours", "--behaviours", "file"),
            Glasshook(f"Glasshook, -e kernel!{KERNEL_FUNCTION}", "--behaviours", "none", "-e",
                      f"kernel!{KERNEL_FUNCTION}")]


def windows_tools():
    hooks = [word for call in WINDOWS_CALLS for word in ("-e", call)]
    return [Tool(), Relay(), RelayFew(),
            Glasshook("Glasshook, -e these functions", "--behaviours", "none", *hooks)]
