"""Scale: what an event costs, and what memory the monitor takes, as there is more of something.

Each point is one `glasshook` command, made several times, with the other points of its kind in between. Its processor
time, its wake-ups and its own memory (without the VM's RAM and the rings, which it maps) are sampled while it runs, and
so is QEMU's processor time; what is taken for the same without a hit is subtracted, and what is left belongs to the
events.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

import monitor
import places
from rows import make

SAMPLE = 0.02  # seconds
HIT, NO_HIT = "libc!getenv", "libc!getdate"  # hooked where nothing is to be hit
CALLS = 500_000
CALLS_OF_A_VM = 200_000  # where there are many
HOOKS = (1, 10, 100, 1000)
PROCESSORS = (1, 2, 4)
MACHINES = (1, 2, 4, 8, 16)
EVENTS = (10**3, 10**4, 10**5, 10**6, 10**7)
PROCESSES = (10, 100, 1000, 5000)
MADE = 5000  # processes in each of those


def processor_seconds(pid):
    """Of a process that runs, to the nanosecond (Documentation/scheduler/sched-stats.rst); None when it has ended."""
    try:
        return sum(int((task / "schedstat").read_text().split()[0])
                   for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except (OSError, IndexError):
        return None


def wake_ups(pid):
    """How often a process has been woken: it slept as often. None when it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
    return int(found.group(1)) if found else None


def child_of(pid):
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


class Run:
    """A command, watched until it ends."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.monitor = self.qemu = self.memory = self.wake_ups = 0.0
        self._child = None

    def sample(self):
        """False when it has ended."""
        if self.process.poll() is not None:
            return False
        pid = self.process.pid
        self._child = self._child or child_of(pid)
        self.monitor = processor_seconds(pid) or self.monitor
        self.wake_ups = wake_ups(pid) or self.wake_ups
        self.qemu = (processor_seconds(self._child) if self._child else None) or self.qemu
        sizes = monitor.memory_mib(pid)
        if sizes:
            self.memory = max(self.memory, sizes[0] - sizes[1])
        return True


def finish(runs):
    """Samples several runs until all have ended."""
    while any([run.sample() for run in runs]):
        time.sleep(SAMPLE)
    for run in runs:
        said = run.process.stderr.read().decode(errors="replace")
        run.process.stderr.close()
        if run.process.returncode != 0:
            raise RuntimeError(f"{' '.join(run.process.args[:8])}: {said[-300:]}")
    return runs


class Scale:

    def __init__(self, folder):
        self.program = monitor.count_calls(folder)
        self.many = pathlib.Path(folder) / "many_processes"
        subprocess.run(["gcc", "-O1", "-static", "-o", self.many,
                        places.DATA / "bench" / "programs" / "many_processes.c"], check=True)
        self.rows = []
        self.round = 0

    def trace(self, apis, calls, *options, processes=4, threads=1):
        selected = [word for api in apis for word in ("-e", api)]
        each = max(calls // (processes * threads), 1)
        return [places.GLASSHOOK, "trace", *selected, "--copy", self.program, "--quiet", "--json", "/dev/null",
                *options, "--", "./count_calls", processes, threads, each]

    def add(self, work, case, runs, plain, events, memory_of=None):
        """`plain`: the same without a hit. `memory_of`: of so many of the runs, when not all ran at once."""
        for metric, name, unit in (("monitor_ns_an_event", "monitor", 1e9), ("vcpu_ns_an_event", "qemu", 1e9),
                                   ("wake_ups_an_event", "wake_ups", 1)):
            taken = sum(getattr(run, name) for run in runs) - sum(getattr(run, name) for run in plain)
            self.rows.append(make("scale", work, case, self.round, metric, taken / events * unit))
        own = sum(run.memory for run in runs[:memory_of])
        self.rows.append(make("scale", work, case, self.round, "bytes", own * 2**20))
        print(f"bench: scale, {work}: {case}, round {self.round}", file=sys.stderr, flush=True)

    @staticmethod
    def prepare(*shape):
        """The snapshot of such a VM is there afterwards, and its making in nobody's bill."""
        finish([Run([places.GLASSHOOK, "run", *shape, "--behaviours", "none", "--quiet", "--json", "/dev/null", "--",
                     "true"])])

    def hooks(self):
        for count in HOOKS:
            others = uncalled_functions(count - 1)
            plain = finish([Run(self.trace([NO_HIT, *others], CALLS))])
            self.add("hooks", count, finish([Run(self.trace([HIT, *others], CALLS))]), plain, CALLS)

    def processors(self):
        for count in PROCESSORS:
            shape = ("--smp", count)
            self.prepare(*shape)
            hit, plain = (finish([Run(self.trace([api], CALLS, *shape, threads=4, processes=1))])
                          for api in (HIT, NO_HIT))
            self.add("vCPUs", count, hit, plain, CALLS)

    def machines(self):
        for count in MACHINES:
            hit, plain = (finish([Run(self.trace([api], CALLS_OF_A_VM)) for _ in range(count)])
                          for api in (HIT, NO_HIT))
            self.add("VMs", count, hit, plain, CALLS_OF_A_VM * count)

    def events(self):
        for count in EVENTS:
            times = 1 if count > 10**4 else 5  # few events are less than a run differs by
            hit, plain = ([finish([Run(self.trace([api], count))])[0] for _ in range(times)] for api in (HIT, NO_HIT))
            self.add("events", count, hit, plain, count * times, memory_of=1)

    def processes(self):
        shape = ("--memory", "2G")
        self.prepare(*shape)
        for count in PROCESSES:
            hit, plain = (finish([Run([places.GLASSHOOK, "run", *shape, "--behaviours", behaviours, "--quiet", "--json",
                                       "/dev/null", "--copy", self.many, "--", "./many_processes", count, MADE])])
                          for behaviours in ("process", "none"))
            self.add("processes", count, hit, plain, 2 * MADE)


def uncalled_functions(count):
    """That many functions of the C library, which the guest has too, and the program that is run does not call."""
    listed = subprocess.run(["nm", "-D", "--defined-only", "/lib/x86_64-linux-gnu/libc.so.6"], check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    names = sorted(set(re.findall(r" T ([a-z]\w*)@@", listed)) - {"getenv", "getdate"})
    return ["libc!" + name for name in names[:count]]


def measure():
    with tempfile.TemporaryDirectory() as folder:
        scale = Scale(folder)
        for points, rounds in ((scale.hooks, 5), (scale.processors, 5), (scale.machines, 3), (scale.events, 3),
                               (scale.processes, 3)):
            for scale.round in range(1, rounds + 1):
                points()
        return scale.rows
