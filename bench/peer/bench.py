"""Runs the works of a suite under each of its tools, in rounds, and notes what they took and told."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable

from peer import logs
from peer.guest import Guest

SETTLE = "sleep 0.5"  # what tools in the guest still write when the work is done is part of its cost


@dataclasses.dataclass
class Work:
    name: str
    line: str  # of the guest's shell
    count: int = 0  # goes for {} in `line`
    calls: int = 1  # that the program makes, and a tool has to tell, for each of count
    told: Callable = len  # how many of them a list of logs.Open tells


class WorkFailed(RuntimeError):
    """The program ended with another status than 0; its guest goes on."""


@dataclasses.dataclass
class Suite:
    guest: str
    files: list  # for the guest's programs
    works: list
    tools: list
    ready: str = "true"  # a line of the guest's shell that ends when it is up
    kinds: int = 0  # of how many files of each kind counted_opens.c is to tell; 0: it is not run


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


class Bench:

    def __init__(self, suite, rows, counted=False):
        """`counted`: the guest's instructions are counted, instead of the time they take."""
        self.suite, self.rows, self.counted = suite, rows, counted
        self.guests, self.attached = {}, []
        self.tools = []  # those that work

    def row(self, work, case, round_, metric, value, **more):
        self.rows.append({"part": "peers", "work": work, "case": case, "round": round_,
                          "metric": metric, "value": value, **more})

    def start(self):
        """What cannot be started is noted, with the reason, and left out."""
        for tool in self.suite.tools:
            reason = tool.missing()
            if self.counted and (not tool.in_guest or reason is not None):
                continue  # told before
            try:
                if reason is None:
                    say(f"starting {tool.name}")
                    self.start_one(tool)
                    self.tools.append(tool)
                    self.attached.append(tool)
            except (RuntimeError, OSError) as error:
                reason = str(error)
            if reason is not None:
                say(f"{tool.name} is left out: {reason}")
                self.row("all", tool.name, 0, "missing", reason)

    def start_one(self, tool):
        if tool.shares not in self.guests:
            try:
                self.guests[tool.shares] = self.new_guest(tool)
            except RuntimeError as error:  # on a busy machine a guest may give up its boot
                say(f"once more: {error}")
                self.guests[tool.shares] = self.new_guest(tool)
            self.guests[tool.shares].check(self.suite.ready)
        guest = self.guests[tool.shares]
        guest.resume()
        tool.attach(guest)
        guest.pause()

    def new_guest(self, tool):
        return Guest(self.suite.guest, self.suite.files, probe=tool.probe, counted=self.counted)

    def close(self):
        for tool in self.attached:
            tool.detach()
        for guest in self.guests.values():
            guest.close()

    def work(self, tool, line):
        """Runs the line under the tool: what it took, by metric, what was told, lost and printed."""
        guest = self.guests[tool.shares]
        guest.resume()
        beside = tool.begin(guest)
        before, begin = self.meters(guest, tool), time.monotonic()
        guest.begin(tool.command(line))
        status, said = guest.finish(beside=beside)
        wall = time.monotonic() - begin
        if status != 0:
            raise WorkFailed(f"`{line}` ended with {status}: {said[-300:]!r}")
        tool.end_work()
        guest.check(SETTLE)
        taken = {metric: value - before[metric] for metric, value in self.meters(guest, tool).items()}
        if not self.counted:
            taken["wall_seconds"] = wall
        told, lost = tool.finish(guest)
        guest.pause()
        return taken, told, lost, said

    def meters(self, guest, tool):
        if self.counted:
            return {"guest_instructions": guest.instructions()}
        return {"vcpu_seconds": guest.vcpu_seconds(), "qemu_seconds": guest.qemu_seconds(),
                "monitor_seconds": tool.outside_seconds()}

    def measure(self, rounds):
        for round_ in range(rounds + 1):  # the first warms up
            for work in self.suite.works:
                first = round_ % max(1, len(self.tools))
                for tool in self.tools[first:] + self.tools[:first]:
                    if round_ <= tool.most_rounds:
                        with self.failing(tool, work.name, round_):
                            self.measure_one(tool, work, round_)
            say(f"round {round_} of {rounds}")

    @contextlib.contextmanager
    def failing(self, tool, work, round_):
        """What goes wrong with one case is noted, and the others go on."""
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            say(f"{tool.name}: {error}")
            self.row(work, tool.name, round_, "failed", str(error))
            if not isinstance(error, WorkFailed):
                self.tools = [t for t in self.tools if t is not tool]

    def measure_one(self, tool, work, round_):
        count = work.count // tool.fewer
        taken, told, lost, _ = self.work(tool, work.line.format(count))
        if round_ == 0:
            return
        more = {"made": count * work.calls} if work.count else {}
        for metric, value in taken.items():
            self.row(work.name, tool.name, round_, metric, round(value, 6), **more)
        if not self.counted:
            self.row(work.name, tool.name, round_, "events", work.told(told), **more)
            self.row(work.name, tool.name, round_, "lost", lost)

    def compare_with_count(self):
        """What each names of the files that counted_opens opens."""
        for tool in self.tools:
            if tool.name != "without":
                with self.failing(tool, "counted", 1):
                    self.count_one(tool)

    def count_one(self, tool):
        _, told, lost, said = self.work(tool, f"./counted_opens {self.suite.kinds}")
        made = {k: int(n) for k, n in (line.split() for line in said.decode().splitlines() if line)}
        seen = logs.kinds_seen(told, made)
        seen["relative, whole path"] = logs.whole_paths(told, "/tmp/own/", "relative")
        made["relative, whole path"] = self.suite.kinds
        for kind, n in made.items():
            self.row("counted", tool.name, 1, "events", seen[kind], kind=kind, made=n)
        self.row("counted", tool.name, 1, "lost", lost)
