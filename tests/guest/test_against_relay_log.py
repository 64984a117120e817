"""Calls of real Windows programs against Wine's own log of them, of another run.

The rules of the comparison are in docs/windows.md.
"""

import bisect
import collections
import json
import pathlib
import re
import tempfile

import relay_log
from harness import GuestTest, compile_windows, glasshook, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"
MODULES = ("ntdll", "kernelbase", "advapi32", "ucrtbase", "msvcrt")
# Two names of one function.
ALIASES = {"FreeEnvironmentStringsW": "FreeEnvironmentStringsA"}
# kernel32 has it a second time, declared as one that is not logged.
NOT_LOGGED = ("GetProcAddress",)
# What differs from run to run: times, and ids of processes that come and go.
VOLATILE = re.compile(r"_time64|GetTickCount(64)?|NtGetTickCount|clock|GetTempFileNameA")
POINTERS = ("pointer", "handle", "utf16", "string", "hkey")


class Signatures:
    """What `apis show` says of a function: directions of its parameters and type of its result."""

    def __init__(self):
        self.known = {}
        for module in (*MODULES, "kernel32"):
            for line in glasshook("apis", "show", f"{module}!*", "--json").stdout.splitlines():
                text = json.loads(line)["signature"]
                parameters, result = text[text.index("(") + 1:].rsplit(") -> ", 1)
                self.known[text[:text.index("(")]] = (
                    dict(self.parameter(p) for p in re.split(r", (?=(?:\w+ )?\w+:)", parameters) if p),
                    result.partition(" !")[0])

    @staticmethod
    def parameter(text):
        name, kind = text.split(": ", 1)
        *direction, name = name.split()
        return name, (direction[0] if direction else "in", kind)


class AgainstWinesRelayLog(GuestTest):

    @classmethod
    def setUpClass(cls):
        cls.signatures = Signatures()

    def logged(self, command, files):
        """The calls that Wine logs, by process and thread: of MODULES, and without stubs."""
        result = run(command, "--guest", "windows-api", "--behaviours", "none", "--quiet", *files,
                     "--env", "WINEDEBUG=+pid,+relay")
        calls = relay_log.parse(result.stderr.encode().splitlines())
        # A function that only leads to one of the same name elsewhere is logged before it.
        stubs = {(outer.module, outer.function)
                 for outer, inner in zip(calls, calls[1:])
                 if inner.function == outer.function and inner.depth == outer.depth + 1}
        threads = collections.defaultdict(list)
        for call in calls:
            name = call.module, call.function
            if call.module.lower() in MODULES and call.function not in NOT_LOGGED \
                    and name not in stubs:
                threads[call.pid, call.tid].append(call)
        return result, threads

    def watched(self, command, files, functions):
        """The calls of the functions that we see, by process and thread, as (function, api)."""
        hooks = [word for module, name in sorted(functions) for word in ("-e", f"{module}!{name}")]
        result = run(command, "--guest", "windows-api", "--behaviours", "module", "--quiet", *files,
                     *hooks)
        self.assert_nothing_lost(result)
        homes = collections.defaultdict(set)
        for module, name in functions:
            homes[ALIASES.get(name, name)].add(module)
        loaded = sorted({(int(e["glasshook"]["address"], 16), pathlib.PurePath(e["dll"]["name"]).stem)
                         for e in result.actions("library_loaded")})
        threads = collections.defaultdict(list)
        # A call is told when it returns; its time is when it began.
        for event in sorted(result.actions("api_called"), key=lambda e: e["@timestamp"]):
            api, ids = event["api"], event["glasshook"]["windows"]
            candidates = homes[ALIASES.get(api["name"], api["name"])]
            home = api["module"] if api["module"] in candidates else next(iter(candidates))
            caller = loaded[bisect.bisect(loaded, (int(ids["caller"], 16), "~")) - 1][1].lower()
            if caller != home:
                threads[ids["process_id"], ids["thread_id"]].append(api)
        return result, threads

    def assert_same_texts(self, call, api):
        """The strings of parameters that the function only reads; how many there were."""
        parameters = self.signatures.known.get(call.function, ({}, ""))[0]
        compared = 0
        for argument, (name, (direction, kind)) in zip(call.arguments, parameters.items()):
            if argument.text is None or direction != "in" or kind not in ("utf16", "string"):
                continue
            ours = api["args"][name]
            self.assertTrue(ours == argument.text or
                            argument.cut and str(ours).startswith(argument.text), (call, api))
            compared += 1
        return compared

    def assert_same_result(self, call, api, names):
        """What the function gave; 1 when it could be compared."""
        kind = self.signatures.known.get(call.function, ({}, "void"))[1]
        # A call that ended its thread has none.
        self.assertEqual(call.result is None, "result" not in api, (call, api))
        if call.result is None or kind in ("void", "never") or VOLATILE.match(call.function):
            return 0
        bits = 0xFFFF if kind.endswith("16") else 0xFF if kind in ("bool", "i8") else 0xFFFFFFFF
        ours = api["result"]
        if kind in POINTERS or kind.endswith("*"):
            self.assertEqual(ours in (0, "NULL"), call.result == 0, (call, api))
        elif isinstance(ours, int):
            self.assertEqual(ours & bits, call.result & bits, (call, api))
        else:
            # A name stands for one value.
            self.assertEqual(names.setdefault((kind, ours), call.result & bits),
                             call.result & bits, (call, api))
        return 1

    def compare(self, command, code, processes, *files):
        copies = [word for file in files for word in ("--copy", file)]
        logged, expected = self.logged(command, copies)
        functions = {(c.module.lower(), c.function) for calls in expected.values() for c in calls}
        watched, found = self.watched(command, copies, functions)
        self.assertEqual((logged.code, watched.code), (code, code), watched.stderr[-2000:])
        self.assertEqual(len({pid for pid, _ in expected}), processes)
        self.assertEqual(len(found), len(expected), "threads")
        texts = results = 0
        names = {}
        for theirs, ours in zip((expected[k] for k in sorted(expected)),
                                (found[k] for k in sorted(found))):
            self.assertEqual([ALIASES.get(api["name"], api["name"]) for api in ours],
                             [ALIASES.get(c.function, c.function) for c in theirs])
            for call, api in zip(theirs, ours):
                texts += self.assert_same_texts(call, api)
                results += self.assert_same_result(call, api, names)
        calls = sum(map(len, expected.values()))
        self.assertGreater(calls, 500)
        self.assertGreater(texts, 15)
        self.assertGreater(results, calls // 5)

    def test_a_batch_file_and_what_it_starts(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "script.bat"
            script.write_text("\r\n".join([
                "@echo off", "mkdir made", "echo one > made\\one.txt",
                "copy made\\one.txt made\\two.txt", "ren made\\two.txt three.txt",
                "if exist made\\three.txt echo there", "for %%f in (made\\*.txt) do type %%f",
                "xcopy made other\\ /i /y", "del made\\one.txt", "rd /s /q made", "exit 7"]))
            self.compare(["cmd.exe", "/c", "script.bat"], 7, 2, script)

    def test_reg(self):
        self.compare(["reg.exe", "add", r"HKCU\Software\Relay Log", "/v", "a value", "/t", "REG_SZ",
                      "/d", "some data", "/f"], 0, 1)

    def test_attrib(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "a file.txt"
            file.write_text("text")
            self.compare(["attrib.exe", "+r", "a file.txt"], 0, 1, file)

    def test_our_own_program_and_its_child(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "actions.exe"
            compile_windows(SOURCES / "actions.c", program)
            self.compare(["./actions.exe"], 0, 2, program)
