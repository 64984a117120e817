"""Runs the measurements and prints them as Markdown: report.py [NAME]...

Every figure is a median over rounds, with the raw rows in build/bench-report/rows.json. Ratios
compare runs of the same invocation only.
"""

import datetime
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "build" / "release" / "bench"
GLASSHOOK = ROOT / "build" / "glasshook"
OUT = ROOT / "build" / "bench-report"
PROGRAMS = ROOT / "tests" / "guest" / "programs"
COUNT_CALLS = PROGRAMS / "count_calls.c"
ROUNDS = 5


def spread(values):
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def hit():
    """What one hooked call costs in the probe: CPU nanoseconds, emulator not counted."""
    done = subprocess.run([BENCH / "bench_hit", "--benchmark_repetitions=15",
                           "--benchmark_format=json"], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    rows = {}
    for run in json.loads(done.stdout)["benchmarks"]:
        if run["run_type"] == "iteration":
            rows.setdefault(run["run_name"], []).append(run["cpu_time"])
    lines = ["| hit | ns (least to most) |", "|---|---|"]
    lines += [f"| {name.removeprefix('BM_')} | {spread(values)} |"
              for name, values in rows.items()]
    return rows, lines


def overhead(suite, rounds):
    """Rows and table of a suite of guest_overhead."""
    done = subprocess.run([BENCH / "guest_overhead", suite, str(rounds)], check=True,
                          stdout=subprocess.PIPE)
    text = done.stdout.decode()
    rows = [{name: quoted or plain for name, quoted, plain in
             re.findall(r'(\w+)=(?:"([^"]*)"|([\d.]+))', line)}
            for line in text.splitlines() if line.startswith("row ")]
    table = text[text.index("\nworkload"):].strip().splitlines()
    return rows, ["```", *table, "```"]


def guest():
    """The same work in an unwatched VM, with the probe idle, and with the default behaviours."""
    return overhead("guest", 60)


def files():
    """File behaviours, and the same rebuilt from intercepted system calls: what each adds."""
    return overhead("files", 20)


def single():
    """One function of the C library hooked, called at several rates and by applications."""
    return overhead("single", 20)


def compiled_program(folder):
    program = pathlib.Path(folder) / "count_calls"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", program, COUNT_CALLS], check=True)
    return program


def traced(program, calls, *options):
    """The command that counts `calls` calls of getenv in 20 processes of 4 threads."""
    return [GLASSHOOK, "trace", "-e", "libc!getenv", "--copy", program, "--quiet", *options, "--",
            "./count_calls", "20", "4", str(calls // 80)]


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def replay():
    """From records to JSON Lines without a VM: 10^6 calls, two records each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/calls.ghrec"
        program = compiled_program(folder)
        subprocess.run(traced(program, 1_000_000, "--record", recording, "--json", "/dev/null"),
                       check=True, stdout=subprocess.DEVNULL)
        for _ in range(ROUNDS):
            before = processor_seconds()
            subprocess.run([GLASSHOOK, "replay", recording, "--json", f"{folder}/calls.jsonl",
                            "--quiet"], check=True)
            seconds = processor_seconds() - before
            with open(f"{folder}/calls.jsonl", "rb") as file:
                lines = sum(1 for _ in file)
            rows.append({"lines": lines, "processor_seconds": seconds})
    rates = [row["lines"] / row["processor_seconds"] for row in rows]
    return rows, [f"JSON lines a processor second, start-up included: {spread(rates)}"]


def memory_mib(pid):
    """Resident pages, and of those the ones shared with the VM: its RAM and the rings."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "RssShmem")]
    return [int(match.group(1)) / 1024 for match in found] if all(found) else None


def memory():
    """The monitor's own memory while 10^7 calls pass through it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        command = traced(compiled_program(folder), 10_000_000, "--json", "/dev/null")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                sizes = memory_mib(process.pid)
                if sizes is not None:
                    rows.append(dict(zip(("resident", "shared"), sizes)))
                time.sleep(0.5)
        if process.returncode != 0:
            raise RuntimeError("the traced program failed")
    own = [row["resident"] - row["shared"] for row in rows]
    third = len(own) // 3
    return rows, [
        f"own memory, MiB: {max(own[:third]):.1f} at most in the first third, "
        f"{max(own[third:2 * third]):.1f} in the second, {max(own[2 * third:]):.1f} in the last",
        f"with the VM's RAM and the rings, which it maps: {max(r['resident'] for r in rows):.1f}"]


def start():
    """From the command line to the first event of the command, restored from a snapshot."""
    rows = []
    for _ in range(2 * ROUNDS):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
            begin = time.time()
            subprocess.run([GLASSHOOK, "run", "--quiet", "--json", out.name, "--", "true"],
                           check=True)
            events = [json.loads(line) for line in out]
        first = next(e for e in events if e["event"]["action"] == "process_executed")
        stamp = first["@timestamp"][:26].rstrip("Z") + "+00:00"
        rows.append(datetime.datetime.fromisoformat(stamp).timestamp() - begin)
    return rows, [f"seconds: {spread(rows)}"]


def windows():
    """The guest's nanoseconds a call: 10^6 of CompareFileTime by eight threads of a Windows program."""
    cases = {"not hooked": "kernel32!CopyFileW", "hooked": "kernel32!CompareFileTime",
             "hooked, at most 1,000 a second": "kernel32!CompareFileTime/rate=1000"}
    rows = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "many_calls.exe"
        subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", "-o", program,
                        PROGRAMS / "windows" / "many_calls.c"], check=True)
        for _ in range(ROUNDS):
            for case, selected in cases.items():
                done = subprocess.run(
                    [GLASSHOOK, "trace", "--guest", "windows-api", "-e", selected, "--copy", program,
                     "--quiet", "--json", "/dev/null", "--", "./many_calls.exe", "8", "125000"],
                    check=True, stdout=subprocess.PIPE)
                taken = dict(line.split() for line in done.stdout.decode().splitlines())["ns"]
                rows[case].append(int(taken) / 1e6)
    lines = ["| case | ns a call |", "|---|---|"]
    return rows, lines + [f"| {case} | {spread(values)} |" for case, values in rows.items()]


MEASUREMENTS = {f.__name__: f for f in (hit, guest, files, single, replay, memory, start, windows)}


def main():
    names = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"bench: there is no measurement {unknown[0]}; choose from "
                 + ", ".join(MEASUREMENTS))
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, check=True)
    report = [f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
              f"load {os.getloadavg()[0]:.1f}; {qemu.stdout.decode().splitlines()[0]}"]
    rows = {}
    for name in names:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        rows[name], lines = MEASUREMENTS[name]()
        report += ["", f"## {name}", "", MEASUREMENTS[name].__doc__, "", *lines]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "rows.json").write_text(json.dumps(rows, indent=1))
    (OUT / "report.md").write_text("\n".join(report) + "\n")
    print("\n".join(report))


main()
