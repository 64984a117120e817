"""A session whose hooks change while it runs."""

import json
import os
import signal
import subprocess
import threading
import time

from harness import GLASSHOOK


class Session:
    """A `glasshook run` whose commands, events and output are at hand."""

    def __init__(self, test, folder, command, *options, behaviours="process"):
        self.test, self.folder = test, folder
        self.commands, self.json = folder / "commands", folder / "events.jsonl"
        os.mkfifo(self.commands)
        self.process = subprocess.Popen(
            [GLASSHOOK, "run", "--accel", "tcg", "--behaviours", behaviours, "--commands", self.commands, "--json",
             self.json, *map(str, options), "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said, self.alive = [], []
        self.read_up_to, self.told = 0, {}
        self.readers = [threading.Thread(target=self.read, args=arguments) for arguments in
                        ((self.process.stdout, self.alive), (self.process.stderr, self.said))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.append(line.decode(errors="replace").strip())

    def wait_until(self, condition, what):
        deadline = time.monotonic() + 120
        while not condition():
            self.test.assertIsNone(self.process.poll(), self.said[-20:])
            self.test.assertLess(time.monotonic(), deadline, (what, self.said[-20:]))
            time.sleep(0.05)

    def say(self, line, answer):
        """Sends a command and waits for what is said about it."""
        before = len(self.said)
        with open(self.commands, "w") as fifo:
            fifo.write(line + "\n")
        self.wait_until(lambda: any(answer in said for said in self.said[before:]), line)

    def calls(self, name):
        """Events of calls so far."""
        with open(self.json, "rb") as file:
            file.seek(self.read_up_to)
            complete = file.read().rpartition(b"\n")[0]
        self.read_up_to += len(complete) + bool(complete)
        for line in complete.splitlines():
            event = json.loads(line)
            if event["event"]["action"] == "api_called":
                self.told.setdefault(event["api"]["name"], []).append(event)
        return self.told.get(name, [])

    def wait_for_calls(self, name, more):
        target = len(self.calls(name)) + more
        self.wait_until(lambda: len(self.calls(name)) >= target, f"calls of {name}")

    def wait_for_life(self):
        count = len(self.alive)
        self.wait_until(lambda: len(self.alive) > count + 2, "the program goes on")

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return status
