"""Processes, threads and processors that come and go while hooks are added and removed."""

import json
import os
import pathlib
import tempfile

from adversary.watched import FLAGS, PROGRAMS, UNHOOKED, Adversary
from harness import compile_c, end
from live_session import Session

ROUNDS = 20
CHANGES = ["libc!open*", "kernel!do_sys_open*", "libc!strdup", "kernel!kernel_clone", "libc!str*",
           "libc!pthread_create"]


class Storms(Adversary):

    def test_hooks_change_in_a_storm(self):
        free = self.run_program("storm", ROUNDS, options=[*UNHOOKED, "--smp", "2"])
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            compile_c(PROGRAMS / "storm.c", folder / "storm", *FLAGS)
            session = Session(self, folder, ["./storm", str(ROUNDS)], "--copy", folder / "storm",
                              "--smp", "2", "--rate", "50", behaviours="all")
            self.addCleanup(end, session.process)
            # From the program's first line to its last.
            session.wait_until(lambda: session.alive, "the program begins")
            changes = self.change_until(lambda: len(session.alive) > 3, session)
            session.process.wait(60)
            self.assertEqual(session.finish(), 0, session.said[-20:])
            self.assertEqual(session.alive, self.verdicts(free))
            self.assertIn(f"children that did their work: {2 * ROUNDS} executed {2 * ROUNDS} forked",
                          session.alive)
            self.assertGreater(changes, 6)
            events = [json.loads(line) for line in session.json.read_bytes().splitlines()]
            losses = events[-1]["glasshook"]["summary"]["losses"]
            self.assertEqual({k: losses[k] for k in ("dropped", "budget", "malformed") if losses[k]}, {})
            self.assertTrue(any(e["event"]["action"] == "api_called" for e in events))
            # No process was missed, whatever hooks came and went.
            executed = [e for e in events if e["event"]["action"] == "process_executed" and
                        e["process"].get("args") == ["storm", "child"]]
            self.assertEqual(len(executed), 2 * ROUNDS)

    def change_until(self, is_over, session):
        """Adds and removes hooks; how often."""
        changes = 0
        while not is_over():
            for sign, answer in (("+", "hooked"), ("-", "no longer hooked")):
                for api in CHANGES:
                    if is_over() or session.process.poll() is not None:
                        return changes
                    before = len(session.said)
                    try:
                        fifo = os.open(session.commands, os.O_WRONLY | os.O_NONBLOCK)
                    except OSError:
                        return changes  # nobody reads any more: the session is over
                    os.write(fifo, f"{sign}{api}\n".encode())
                    os.close(fifo)
                    session.wait_until(lambda: is_over() or any(answer in said for said in
                                                               session.said[before:]), api)
                    changes += 1
        return changes
