"""Runs commands in watched VMs and reads back what Glasshook saw."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GLASSHOOK = os.environ.get("GLASSHOOK", str(ROOT / "build" / "glasshook"))


# Where `run` runs commands: a guest that `glasshook image` knows.
_guest = "linux"


class Run:
    """One finished `glasshook` call."""

    def __init__(self, code, stdout, stderr, events):
        self.code, self.stdout, self.stderr, self.events = code, stdout, stderr, events

    def actions(self, *names):
        return [e for e in self.events if e["event"]["action"] in names]

    def summary(self):
        return self.actions("session_summary")[-1]


def glasshook(*arguments, timeout=600, env=None, cwd=None):
    """Runs glasshook with these arguments; stdout and stderr are bytes."""
    done = subprocess.run([GLASSHOOK, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          env={**os.environ, **(env or {})}, cwd=cwd)
    return done


def read_events(path, keep=lambda event: True):
    """The events to keep. Every line must be valid JSON in valid UTF-8."""
    with open(path, "rb") as file:
        events = (json.loads(line.decode("utf-8", errors="strict")) for line in file)
        return [event for event in events if keep(event)]


def run(command, *options, timeout=600, subcommand="run", keep=lambda event: True):
    """Runs a command in a fresh VM under `glasshook run` and collects its events: those to keep."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        guest = [] if "--guest" in options else ["--guest", _guest]
        if "--accel" not in options:
            guest += ["--accel", "tcg"]  # wherever the tests run
        done = glasshook(subcommand, *guest, "--json", out.name, *options, "--", *command,
                         timeout=timeout)
        return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"),
                   read_events(out.name, keep))


def choose_guest(name):
    """Makes `run` use this guest; gives the one before."""
    global _guest
    before, _guest = _guest, name
    return before


def image_directory(name=None):
    """Where the files of a guest are, by default of the chosen one."""
    listed = glasshook("image", "list", "--json").stdout.decode().splitlines()
    return next(pathlib.Path(i["directory"]) for i in map(json.loads, listed)
                if i["name"] == (name or _guest) and i["current"])


class GuestTest(unittest.TestCase):
    """Checks shared by guest tests."""

    maxDiff = 4000

    def assert_nothing_lost(self, result):
        losses = result.summary()["glasshook"]["summary"]["losses"]
        lost = {k: v for k, v in losses.items()
                if k in ("dropped", "budget", "malformed", "page_timeouts", "late_commits")
                and v}
        self.assertEqual(lost, {}, result.stderr[-2000:])

    def assert_fits_schema(self, events):
        import jsonschema
        schema = json.loads((ROOT / "docs" / "event.schema.json").read_text())
        validator = jsonschema.validators.validator_for(schema)(schema)
        for event in events:
            self.assertEqual([e.message for e in validator.iter_errors(event)], [], event)


def compile_c(source, output, *flags):
    """Compiles a C program that runs in the guest (same Debian release as the host)."""
    subprocess.run(["gcc", "-O1", "-pthread", "-o", str(output), str(source), *flags], check=True)


def compile_windows(source, output, *flags):
    """Compiles a C program or DLL for the Windows API guest."""
    subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", "-o", str(output), str(source),
                    *map(str, flags)], check=True)


def end(process):
    """Ends a process that a test started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
