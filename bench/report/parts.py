"""The parts of the benchmark: each measures something and gives rows."""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable

import counting
import monitor
import places
import rows
import scale


@dataclasses.dataclass(frozen=True)
class Part:
    """`measure` gives rows; it raises when it cannot."""
    about: str
    measure: Callable


def overhead(suite, rounds):
    """Rows of guest_overhead, as they are timed."""
    done = subprocess.run([places.PROGRAMS / "guest_overhead", suite, str(rounds)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"guest_overhead: {done.returncode}")
    return rows.parse(done.stdout.decode())


def hit(rounds):
    """One hooked call in the probe, without the emulator: each hit by itself, and many in a row."""
    done = subprocess.run([places.PROGRAMS / "hit_latency", str(rounds)], check=True, stdout=subprocess.PIPE)
    return rows.parse(done.stdout.decode())


def peers(rounds):
    """The tools that peers.py knows, on the same guest and work."""
    program = places.DATA / "bench" / "peers.py"
    if not program.exists():
        return [rows.missing("peers", "all", "bench/peers.py is not there")]
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        done = subprocess.run([sys.executable, program, "--rounds", str(rounds), "--json", out.name],
                              stdout=subprocess.DEVNULL)
        found = rows.parse(out.read().decode())
    if done.returncode != 0:
        found.append(rows.missing("peers", "all", f"peers.py ended with {done.returncode}"))
    return found


PARTS = {
    "hit": Part("one hooked call in the probe: nanoseconds, median and 99th percentile", lambda: hit(25)),
    "guest": Part("a guest with the probe idle, and with the default behaviours", lambda: overhead("guest", 12)),
    "files": Part("file behaviours, against the same rebuilt from intercepted system calls",
                  lambda: overhead("files", 8)),
    "single": Part("one function of the C library hooked: at several rates, and in applications",
                   lambda: overhead("single", 20)),
    "registry": Part("one function of Windows' registry hooked, under Wine", lambda: overhead("registry", 5)),
    "counted-guest": Part("as guest, in instructions of the host", lambda: counting.count("guest")),
    "counted-files": Part("as files, in instructions of the host", lambda: counting.count("files")),
    "counted-single": Part("as single, in instructions of the host", lambda: counting.count("single")),
    "counted-relay": Part("calls of a Windows program: hooks on them, and Wine's +relay",
                          lambda: counting.count("relay")),
    "replay": Part("from records to JSON Lines, without a VM", monitor.replay),
    "memory": Part("the monitor's memory while 10^7 calls pass", monitor.memory),
    "start": Part("from the command line to the first event", monitor.start),
    "windows": Part("a hot function of Windows: what a call takes in the guest", monitor.windows),
    "scale": Part("more hooks, vCPUs, VMs, events, processes", scale.measure),
    "peers": Part("strace, bpftrace, auditd, gdb on the same work", lambda: peers(5)),
}
