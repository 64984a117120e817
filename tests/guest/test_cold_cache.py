"""Hooks in a library of which the guest's page cache holds only what was needed so far."""

import pathlib
import tempfile

from harness import GuestTest, compile_c, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
NAME = "cold_function_of_a_library_with_many_names_"
# The symbol table is far larger than what one access reads ahead.
FUNCTIONS, STEP, CALLS = 5000, 10, 5


class ColdCache(GuestTest):

    def count(self, *options):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "cold.c").write_text("".join(
                f"int {NAME}{i}(int x) {{ return x + {i}; }}\n" for i in range(FUNCTIONS)))
            compile_c(folder / "cold.c", folder / "libcold.so", "-shared", "-fPIC")
            compile_c(PROGRAMS / "cold_calls.c", folder / "cold_calls")
            result = run(["sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches; "
                          f"exec ./cold_calls ./libcold.so {FUNCTIONS} {STEP} {CALLS}"],
                         "-e", f"libcold!{NAME}*0", "--copy", folder / "libcold.so",
                         "--copy", folder / "cold_calls", *options, subcommand="trace")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        self.assert_nothing_lost(result)
        self.assertEqual(int(result.stdout), len(range(0, FUNCTIONS, STEP)) * CALLS)
        expected = {f"{NAME}{i}": CALLS for i in range(0, FUNCTIONS, STEP) if i % 10 == 0}
        seen = {}
        for event in result.actions("api_called"):
            self.assertIn("result", event["api"])
            seen[event["api"]["name"]] = seen.get(event["api"]["name"], 0) + 1
        self.assertEqual(seen, expected)

    def test_a_library_read_bit_by_bit(self):
        self.count()

    def test_two_processors(self):
        self.count("--smp", "2")
