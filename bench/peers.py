#!/usr/bin/env python3
"""Other people's tools beside Glasshook, on the same guest and work: peers.py [--rounds N] [CASE...]

Every case tells program, path and result of every open: strace, bpftrace and auditd in the guest, QEMU's
gdbstub and Glasshook from outside. Measured is the processor time of the vCPU's thread and of all of
QEMU, with whatever the tool runs in the guest, and that of the process outside. Rounds are interleaved,
one VM a case, which is stopped while others work. CASE: a part of a case's name.
Prints rows, a JSON object a line, to --json FILE (or stdout), and a table as Markdown at the end.
"""

import argparse
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent / "tests" / "guest")]

from peer import logs  # noqa: E402
from peer.guest import Guest  # noqa: E402
from peer.table import table  # noqa: E402
from peer.tools import all_tools  # noqa: E402

PROGRAMS = HERE.parent / "build" / "release" / "bench"
FILES = [PROGRAMS / "workload", PROGRAMS / "counted_opens"]
STORM = 2000
OWN = 40  # files of each kind of counted_opens
WORKS = {
    "storm": "./workload storm {}",
    # As in guest_overhead.cpp.
    "applications": "sh -c 'tar -cf /dev/null /usr/lib/python3.11/json /usr/lib/python3.11/email /etc;"
                    "gzip -c /usr/lib/python3.11/pydoc.py >/tmp/x.gz; rm /tmp/x.gz;"
                    "python3 -S -c \"import json; print(len(json.dumps([list(range(50))] * 400)))\"'",
}
SETTLE = "sleep 0.5"  # what tools in the guest still write when the work is done is part of its cost


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


class Bench:

    def __init__(self, tools, rows):
        self.tools, self.rows, self.guests = tools, rows, {}

    def row(self, work, case, round_, metric, value, **more):
        self.rows.append({"part": "peers", "work": work, "case": case, "round": round_,
                          "metric": metric, "value": value, **more})

    def start(self):
        usable = []
        for tool in self.tools:
            reason = tool.missing()
            if reason is None:
                say(f"starting {tool.name}")
                try:
                    self.start_one(tool)
                    usable.append(tool)
                    continue
                except (RuntimeError, OSError) as error:
                    reason = str(error)
            say(f"{tool.name} is left out: {reason}")
            self.rows.append({"part": "peers", "work": "all", "case": tool.name, "round": 0,
                              "metric": "missing", "value": reason})
        self.tools = usable

    def start_one(self, tool):
        if tool.shares not in self.guests:
            self.guests[tool.shares] = Guest("linux-peers", FILES, probe=tool.probe)
        guest = self.guests[tool.shares]
        guest.resume()
        tool.attach(guest)
        guest.pause()

    def stop(self):
        for tool in self.tools:
            self.guests[tool.shares].resume()
            tool.detach()
        for guest in self.guests.values():
            guest.close()

    def work(self, tool, line):
        """Runs the line under the tool: what it took, by metric, what was told, lost and printed."""
        guest = self.guests[tool.shares]
        guest.resume()
        beside = tool.begin(guest)
        before = guest.vcpu_seconds(), guest.qemu_seconds(), tool.outside_seconds(), time.monotonic()
        guest.begin(tool.command(line))
        status, said = guest.finish(beside=beside)
        wall = time.monotonic() - before[3]
        if status != 0:
            raise RuntimeError(f"{tool.name}: `{line}` ended with {status}: {said[-300:]!r}")
        tool.end_work()
        guest.check(SETTLE)
        taken = {"vcpu_seconds": guest.vcpu_seconds() - before[0],
                 "qemu_seconds": guest.qemu_seconds() - before[1],
                 "monitor_seconds": tool.outside_seconds() - before[2], "wall_seconds": wall}
        told, lost = tool.finish(guest)
        guest.pause()
        return taken, told, lost, said

    def measure(self, rounds):
        for round_ in range(rounds + 1):  # the first warms up
            for work, line in WORKS.items():
                for i in range(len(self.tools)):
                    tool = self.tools[(i + round_) % len(self.tools)]
                    if round_ <= tool.most_rounds:
                        self.measure_one(tool, work, line, round_)
            say(f"round {round_} of {rounds}")

    def measure_one(self, tool, work, line, round_):
        opens = STORM // tool.fewer
        taken, told, lost, _ = self.work(tool, line.format(opens) if work == "storm" else line)
        if round_ == 0:
            return
        more = {"made": opens} if work == "storm" else {}
        for metric, value in taken.items():
            self.row(work, tool.name, round_, metric, round(value, 6), **more)
        seen = logs.opens_of(told, "/etc/passwd") if work == "storm" else len(told)
        self.row(work, tool.name, round_, "events", seen, **more)
        self.row(work, tool.name, round_, "lost", lost)

    def compare_with_count(self):
        """What each names of the files that counted_opens opens."""
        for tool in self.tools[1:]:
            _, told, lost, said = self.work(tool, f"./counted_opens {OWN}")
            made = {k: int(n) for k, n in (line.split() for line in said.decode().splitlines() if line)}
            seen = logs.kinds_seen(told, made)
            seen["relative, whole path"] = logs.whole_paths(told, "/tmp/own/", "relative")
            made["relative, whole path"] = OWN
            for kind, n in made.items():
                self.row("counted", tool.name, 1, "events", seen[kind], kind=kind, made=n)
            self.row("counted", tool.name, 1, "lost", lost)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the rows there instead of to the standard output")
    parser.add_argument("case", nargs="*")
    options = parser.parse_args()
    tools = all_tools()
    tools = [t for t in tools if not options.case or t.name == "without"
             or any(c in t.name for c in options.case)]
    rows = []
    bench = Bench(tools, rows)
    try:
        bench.start()
        bench.measure(options.rounds)
        bench.compare_with_count()
    finally:
        bench.stop()
    out = open(options.json, "w") if options.json else sys.stdout
    for row in rows:
        print(json.dumps(row), file=out)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
