"""Calls that end in other ways than by returning: each is told once, and truly."""

import pathlib
import subprocess
import tempfile

from harness import GuestTest, compile_c, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
ROUNDS = 200


class OddReturns(GuestTest):

    def watch(self, *options, subcommand="trace"):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            compile_c(PROGRAMS / "odd_calls.c", folder / "libodd.so", "-shared", "-fPIC",
                      "-fexceptions")
            subprocess.run(["g++", "-O1", "-pthread", "-static-libstdc++", "-static-libgcc", "-o",
                            folder / "odd_returns", PROGRAMS / "odd_returns.cpp",
                            f"-L{folder}", "-lodd", "-Wl,-rpath,$ORIGIN"], check=True)
            return run(["./odd_returns", ROUNDS], "-e", "libodd!odd_call", "-e",
                       "libodd!odd_other", "--copy", folder / "libodd.so",
                       "--copy", folder / "odd_returns", *options, subcommand=subcommand)

    def check(self, result):
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        self.assert_nothing_lost(result)
        counted = {}
        for line in result.stdout.decode().splitlines():
            kind, entered, returned = map(int, line.split())
            counted[kind] = (entered, returned)
        self.assertGreater(sum(entered for entered, _ in counted.values()), 5 * ROUNDS)
        seen = {kind: (0, 0) for kind in counted}
        others = 0
        for event in result.actions("api_called"):
            api = event["api"]
            kind = api["args"]["arg0"]
            kind = int(kind, 0) if isinstance(kind, str) else kind
            has_result = "result" in api
            self.assertNotEqual(has_result, "incomplete" in api, api)
            if api["name"] == "odd_other":
                self.assertEqual(number(api["result"]), kind + 1000)
                others += 1
                continue
            if has_result:
                self.assertEqual(number(api["result"]), kind)
            entered, returned = seen[kind]
            seen[kind] = (entered + 1, returned + has_result)
        self.assertEqual(seen, counted)
        self.assertEqual(others, ROUNDS)
        # A returned call of another thread is never taken for one of those that cannot return.
        self.assertEqual(result.summary()["glasshook"]["summary"]["losses"]["unresolved"], 0,
                         result.stderr[-2000:])

    def test_every_way_out(self):
        self.check(self.watch())

    def test_every_way_out_with_two_processors_and_behaviours(self):
        self.check(self.watch("--smp", "2", subcommand="run"))


def number(value):
    return int(value, 0) if isinstance(value, str) else value
