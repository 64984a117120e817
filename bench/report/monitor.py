"""What the monitor takes: to turn records into lines, in memory, to start; and a hot function of Windows."""

import datetime
import json
import pathlib
import re
import resource
import subprocess
import tempfile
import time

import places
from rows import make

ROUNDS = 5


def count_calls(folder):
    """The program that calls getenv as often as it is told, compiled."""
    program = pathlib.Path(folder) / "count_calls"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", program, places.GUEST_PROGRAMS / "count_calls.c"], check=True)
    return program


def traced(program, calls, *options, processes=20, threads=4):
    """The command that counts that many calls of getenv."""
    each = max(calls // (processes * threads), 1)
    return [places.GLASSHOOK, "trace", "-e", "libc!getenv", "--copy", program, "--quiet", *options, "--",
            "./count_calls", str(processes), str(threads), str(each)]


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def record(program, recording, calls, processes=20, threads=4):
    subprocess.run(traced(program, calls, "--record", recording, "--json", "/dev/null", processes=processes,
                          threads=threads), check=True, stdout=subprocess.DEVNULL)


def replayed(recording, lines):
    """Processor seconds to replay it into the file `lines`, and how many lines that has."""
    before = processor_seconds()
    subprocess.run([places.GLASSHOOK, "replay", recording, "--json", lines, "--quiet"], check=True)
    seconds = processor_seconds() - before
    with open(lines, "rb") as file:
        return seconds, sum(1 for _ in file)


def replay():
    found = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        recording = f"{folder}/calls.ghrec"
        record(count_calls(folder), recording, 1_000_000)
        for number in range(1, ROUNDS + 1):
            seconds, lines = replayed(recording, f"{folder}/calls.jsonl")
            found.append(make("replay", "10^6 calls", "JSON Lines", number, "lines_a_second", lines / seconds))
    return found


def memory_mib(pid):
    """Resident pages, and of those the ones shared with the VM: its RAM and the rings."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "RssShmem")]
    return [int(match.group(1)) / 1024 for match in found] if all(found) else None


def memory():
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        with subprocess.Popen(traced(count_calls(folder), 10_000_000, "--json", "/dev/null"),
                              stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                taken = memory_mib(process.pid)
                if taken is not None:
                    sizes.append(taken)
                time.sleep(0.5)
        if process.returncode != 0:
            raise RuntimeError("the traced program failed")
    third = len(sizes) // 3
    parts = {"first third": sizes[:third], "second third": sizes[third:2 * third], "last third": sizes[2 * third:]}
    return [make("memory", "10^7 calls", name, 1, "bytes", max(all_ - shared for all_, shared in taken) * 2**20)
            for name, taken in parts.items()]


def start():
    found = []
    for number in range(1, 2 * ROUNDS + 1):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
            begin = time.time()
            subprocess.run([places.GLASSHOOK, "run", "--quiet", "--json", out.name, "--", "true"], check=True)
            events = [json.loads(line) for line in out]
        first = next(e for e in events if e["event"]["action"] == "process_executed")
        stamp = first["@timestamp"][:26].rstrip("Z") + "+00:00"
        seconds = datetime.datetime.fromisoformat(stamp).timestamp() - begin
        found.append(make("start", "true", "from a snapshot", number, "wall_seconds", seconds))
    return found


def windows():
    """10^6 calls of CompareFileTime by eight threads of a Windows program."""
    cases = {"without": "kernel32!CopyFileW", "hooked": "kernel32!CompareFileTime",
             "hooked, at most 1,000 a second": "kernel32!CompareFileTime/rate=1000"}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "many_calls.exe"
        subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", "-o", program,
                        places.GUEST_PROGRAMS / "windows" / "many_calls.c"], check=True)
        for number in range(1, ROUNDS + 1):
            for case, selected in cases.items():
                done = subprocess.run(
                    [places.GLASSHOOK, "trace", "--guest", "windows-api", "-e", selected, "--copy", program,
                     "--quiet", "--json", "/dev/null", "--", "./many_calls.exe", "8", "125000"],
                    check=True, stdout=subprocess.PIPE)
                taken = dict(line.split() for line in done.stdout.decode().splitlines())["ns"]
                found.append(make("windows", "CompareFileTime", case, number, "ns", int(taken) / 1e6))
    return found
