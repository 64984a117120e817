"""The domain that docs/kvm.md shows is one that libvirt takes."""

import pathlib
import re
import subprocess
import tempfile
import unittest

from harness import ROOT

SCHEMA = pathlib.Path("/usr/share/libvirt/schemas/domain.rng")


class LibvirtPage(unittest.TestCase):

    def validate(self, domain):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(domain)
            file.flush()
            return subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, file.name],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def setUp(self):
        self.assertTrue(SCHEMA.exists(), "scripts/setup --test installs it")
        page = (ROOT / "docs" / "kvm.md").read_text()
        self.domain, = re.findall(r"```xml\n(.*?)```", page, re.S)

    def test_the_domain_fits_the_schema(self):
        done = self.validate(self.domain)
        self.assertEqual(done.returncode, 0, done.stdout.decode())

    def test_it_has_what_the_library_needs(self):
        for needed in ("<source type='memfd'/>", "<access mode='shared'/>", "LD_PRELOAD",
                       "GLASSHOOK_KVM"):
            self.assertIn(needed, self.domain)

    def test_the_schema_knows_better(self):
        wrong = self.domain.replace("<qemu:env name='LD_PRELOAD' ", "<qemu:env ")
        self.assertNotEqual(wrong, self.domain)
        self.assertNotEqual(self.validate(wrong).returncode, 0)
