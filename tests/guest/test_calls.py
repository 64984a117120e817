"""Calls of hooked functions against a program that counts its own."""

import pathlib
import tempfile

from harness import GuestTest, compile_c, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


class CountedCalls(GuestTest):

    def count(self, processes, threads, calls, *options):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "count_calls"
            compile_c(PROGRAMS / "count_calls.c", program)
            result = run(["./count_calls", processes, threads, calls], "-e", "libc!getenv",
                         "--copy", program, *options, subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        self.assertEqual(int(result.stdout), processes * threads * calls)
        made = [e for e in result.actions("api_called")
                if e["api"]["args"].get("name") == "GLASSHOOK_NOT_SET"]
        self.assertEqual(len(made), processes * threads * calls)
        self.assertTrue(all(e["api"].get("result") == 0 for e in made), "each joined with its return")
        self.assertEqual(len({e["process"]["entity_id"] for e in made}), processes)
        per_thread = {}
        for event in made:
            key = (event["process"]["entity_id"], event["process"]["thread"]["id"])
            per_thread[key] = per_thread.get(key, 0) + 1
        self.assertEqual(set(per_thread.values()), {calls})

    def test_a_million_calls_in_twenty_processes(self):
        self.count(20, 4, 12500)

    def test_four_processors(self):
        self.count(8, 4, 2000, "--smp", "4")

    def test_kernel_and_programs_in_tables_of_their_own(self):
        # The processor that --stealth pretends to be makes the kernel isolate its page tables.
        isolated = run(["cat", "/sys/devices/system/cpu/vulnerabilities/meltdown"], "--stealth")
        self.assertIn(b"PTI", isolated.stdout)
        self.count(8, 4, 2000, "--stealth")


class CodeThatIsNotHooked(GuestTest):

    def test_the_probe_need_not_look_at_most_of_it(self):
        # QEMU's blocks that it shows to a plugin are slower, hooked or not.
        for processors in "1", "4":
            result = run(["sh", "-c", "ls -l /usr/lib; python3 -c 'import json, argparse'"],
                         "-e", "libc!getenv", "--smp", processors, subcommand="trace")
            self.assertEqual(result.code, 0, result.stderr[-2000:])
            self.assertTrue(result.actions("api_called"))
            blocks = result.summary()["glasshook"]["summary"]["blocks"]
            self.assertGreater(blocks["hidden"], blocks["shown"], processors)

    def test_nor_where_a_hook_is_hit_seldom(self):
        result = run(["python3", "-c", "import json, argparse"], "-e", "kernel!vfs_setxattr", "--smp", "4",
                     subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        blocks = result.summary()["glasshook"]["summary"]["blocks"]
        self.assertGreater(blocks["hidden"], 5 * blocks["shown"])


class DecodedCalls(GuestTest):

    def test_arguments_results_and_errno(self):
        result = run(["python3", "-c",
                      "import ctypes, os\n"
                      "libc = ctypes.CDLL(None, use_errno=True)\n"
                      "libc.open(b'/no/such/file', 0)\n"
                      "fd = libc.open(b'/etc/hostname', os.O_RDONLY | os.O_CLOEXEC)\n"
                      "libc.mkdir(b'/etc', 0o755)\n"],
                     "-e", "libc!open", "-e", "libc!mkdir", "--comm", "python3",
                     subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        calls = {(e["api"]["name"], e["api"]["args"].get("path")): e["api"]
                 for e in result.actions("api_called")}
        missing = calls[("open", "/no/such/file")]
        self.assertEqual((missing["result"], missing["error"]), (-1, "ENOENT"))
        good = calls[("open", "/etc/hostname")]
        self.assertGreaterEqual(good["result"], 3)
        self.assertEqual(good["args"]["flags"], "O_RDONLY|O_CLOEXEC")
        self.assertEqual(calls[("mkdir", "/etc")]["error"], "EEXIST")

    def test_any_kernel_function_without_a_signature(self):
        result = run(["cat", "/etc/hostname"], "-e", "kernel!vfs_read", subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        reads = [e["api"] for e in result.actions("api_called")]
        self.assertTrue(any(r["args"].get("file") == "/etc/hostname" and r["result"] == 6
                            for r in reads), reads[:5])

    def test_rate_limit_is_said(self):
        result = run(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : >/dev/null; done"],
                     "-e", "kernel!do_filp_open/rate=50", subcommand="trace")
        limited = result.summary()["glasshook"]["summary"]["losses"]["rate_limited"]
        told = len(result.actions("api_called"))
        self.assertGreater(limited, 1000)
        self.assertGreaterEqual(told + limited, 3000)

    def test_unknown_function_names_the_nearest(self):
        result = run(["true"], "-e", "opne", subcommand="trace")
        self.assertEqual(result.code, 125)
        self.assertIn("open", result.stderr)
