"""Code of a library's content, run elsewhere first, must not take the library's hooks away."""

import pathlib
import tempfile

from adversary.watched import PROGRAMS, Adversary
from harness import compile_c


class Poison(Adversary):

    def poison(self, way):
        watched = self.run_program("poison", way, options=["-e", "libc!htonl"])
        lines = self.verdicts(watched)
        self.assertIn(f"elsewhere: {1 << 24}", lines)
        called = [e["api"]["result"] for e in watched.actions("api_called")]
        self.assertIn(2 << 24, called, "the library's own function")
        return watched

    def test_run_from_anonymous_memory_first(self):
        watched = self.poison("anonymous")
        self.assertEqual(len(watched.actions("code_executed_unbacked")), 1)

    def test_run_from_another_file_first(self):
        self.poison("file")

    def test_run_from_a_changed_page_of_another_module_first(self):
        self.poison("other_module")

    def use_again(self, way):
        with tempfile.TemporaryDirectory() as folder:
            library = pathlib.Path(folder) / "library.so"
            compile_c(PROGRAMS / "churn_call.c", library, "-shared", "-fPIC")
            watched = self.run_program("churn", way, "./library.so", 20, options=[
                "--copy", library, "-e", "libchurn*!churn_call"])
        self.verdicts(watched)
        called = {e["api"]["result"] for e in watched.actions("api_called")}
        self.assertEqual({r for r in called if r > 1000}, set(range(1001, 1021)))

    def test_pages_of_a_just_in_time_compiler_used_again(self):
        self.use_again("rewrite")

    def test_pages_of_the_same_content_used_again(self):
        self.use_again("same")
