#!/usr/bin/env python3
"""Other people's tools beside Glasshook, on the same guest and work: peers.py [--rounds N] [CASE...]

Linux: every case tells program, path and result of every open: strace, bpftrace and auditd in the guest,
QEMU's gdbstub and Glasshook from outside. Windows: calls of four functions, Wine's +relay and Glasshook.
Measured is the processor time of the vCPU's thread and of all of QEMU, with whatever the tool runs in the
guest, and that of the process outside. Rounds are interleaved, one VM a case, which is stopped while
others work. In more VMs, where time does not count, the guest's instructions are counted. CASE: a part
of a case's name. Prints rows, a JSON object a line, to --json FILE (or stdout), and Markdown at the end.
"""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE), str(HERE.parent / "tests" / "guest")]

from harness import GLASSHOOK, compile_windows  # noqa: E402
from peer import logs  # noqa: E402
from peer.bench import Bench, Suite, Work, say  # noqa: E402
from peer.table import table  # noqa: E402
from peer.tools import linux_tools, windows_tools  # noqa: E402

PROGRAMS = HERE.parent / "build" / "release" / "bench"
# As in guest_overhead.cpp.
APPLICATIONS = ("sh -c 'tar -cf /dev/null /usr/lib/python3.11/json /usr/lib/python3.11/email /etc;"
                "gzip -c /usr/lib/python3.11/pydoc.py >/tmp/x.gz; rm /tmp/x.gz;"
                "python3 -S -c \"import json; print(len(json.dumps([list(range(50))] * 400)))\"'")


def linux_suite():
    works = [Work("storm", "./workload storm {}", 2000, told=lambda found: logs.naming(found, "/etc/passwd")),
             Work("applications", APPLICATIONS)]
    return Suite("linux-peers", [PROGRAMS / "workload", PROGRAMS / "counted_opens"], works, linux_tools(),
                 kinds=40)


def windows_suite(folder):
    program = pathlib.Path(folder, "windows_calls.exe")
    compile_windows(HERE / "programs" / "windows_calls.c", program)
    works = [Work("windows calls", "./windows_calls.exe {}", 500, calls=4,
                  told=lambda found: logs.naming(found, "peers-own"))]
    return Suite("windows-api", [program], works, windows_tools(),
                 ready="for i in $(seq 240); do ps ax | grep -q '[e]xplorer.exe' && sleep 5 && exit 0; "
                       "sleep 1; done; exit 1")


class Rows(list):
    """Rows that are written as they come."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def append(self, row):
        super().append(row)
        print(json.dumps(row), file=self.out, flush=True)


def choose(suite, names):
    """Of the suite's tools those that are meant; none when that leaves nothing to compare."""
    chosen = [t for t in suite.tools if any(name in t.name for name in names)] if names else suite.tools[1:]
    suite.tools = suite.tools[:1] + chosen if chosen else []


def play(suite, rounds, rows):
    """Time, then instructions where the tools work in the guest."""
    for counted in (False, True) if suite.kinds else (False,):
        bench = Bench(suite, rows, counted)
        with contextlib.closing(bench):
            bench.start()
            bench.measure(1 if counted else rounds)
            if suite.kinds and not counted:
                bench.compare_with_count()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", help="write the rows there instead of to the standard output")
    parser.add_argument("case", nargs="*")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(options.json, "w")) if options.json else sys.stdout
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        rows = Rows(out)
        for suite in (linux_suite(), windows_suite(folder)):
            choose(suite, options.case)
            if not suite.tools:
                continue
            say(f"image of {suite.guest}")
            if subprocess.run([GLASSHOOK, "image", "build", suite.guest], stdout=sys.stderr).returncode == 0:
                play(suite, options.rounds, rows)
            else:
                rows.append({"part": "peers", "work": "all", "case": suite.guest, "round": 0,
                             "metric": "missing", "value": "its image cannot be built here"})
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
