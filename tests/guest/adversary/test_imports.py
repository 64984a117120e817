"""Imports of Linux programs that lead elsewhere are told."""

import pathlib
import tempfile

from adversary.watched import FLAGS, PROGRAMS, Adversary
from harness import compile_c, run


class Imports(Adversary):

    def test_slot_replaced(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "got"
            # As Debian's compiler makes programs: bound when first called.
            compile_c(PROGRAMS / "got.c", program, *FLAGS, "-Wl,-z,lazy", "-Wl,-z,norelro")
            watched = run(["./got"], "--copy", program)
        said = dict(line.split(": ", 1) for line in self.verdicts(watched))
        self.assertEqual(said["function"], "1")
        result, code = said["memory"].split()
        self.assertEqual(result, "42")
        told = watched.actions("import_replaced")
        self.assertEqual([str(e["process"]["pid"]) for e in told], [said["pid"]] * 2)
        self.assertEqual([e["glasshook"]["address"] for e in told], [said["slot"]] * 2)
        imports = [e["glasshook"]["import"] for e in told]
        self.assertEqual({i["function"] for i in imports}, {"getppid"})
        self.assertTrue(all(i["importer"].endswith("/got") for i in imports))
        self.assertIn("/libc.so.6+0x", imports[0]["target"])
        self.assertEqual(imports[1]["target"], code)
        self.assert_fits_schema(told)

    def test_ordinary_programs_replace_nothing(self):
        watched = run(["sh", "-c",
                       "for i in 1 2 3 4 5 6 7 8; do touch /tmp/$i; sleep 0.5; done & "
                       "python3 -c 'import ssl, json, time, ctypes\n"
                       "for i in range(30): open(\"/tmp/x\", \"w\").close(); time.sleep(0.1)'; "
                       "curl --version > /tmp/version; tar -cf /tmp/x.tar /etc; wait"])
        self.assertEqual(watched.code, 0, watched.stderr[-2000:])
        self.assertEqual(watched.actions("import_replaced"), [])
