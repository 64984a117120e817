"""What looks for a virtual machine finds one, and none under --stealth."""

import pathlib
import re
import subprocess
import tarfile
import tempfile
import unittest

from adversary.watched import FLAGS, PROGRAMS
from harness import GuestTest, compile_c, run

DETECTORS = ["/usr/sbin/virt-what", "/usr/libexec/virt-what-cpuid-helper",
             "/usr/lib/virt-what/virt-what-cpuid-helper", "/usr/sbin/dmidecode",
             "/usr/bin/systemd-detect-virt"]

# What --stealth cannot hide; see docs/stealth.md.
KNOWN = {"fw_cfg port"}


def libraries(program):
    """The shared libraries of a program of this host, but for the C library and its loader."""
    listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True).stdout.decode()
    paths = re.findall(r"=> (/\S+)", listed)
    return [p for p in paths if not re.search(r"/(libc|libm|ld-linux\S*)\.so", p)]


def bring_detectors(archive):
    """Puts the detectors of this host into a tar archive, with what they need beside them."""
    with tarfile.open(archive, "w") as tar:
        for program in filter(lambda path: pathlib.Path(path).exists(), DETECTORS):
            tar.add(program, program, filter=lambda entry: entry)
        for library in libraries("/usr/bin/systemd-detect-virt"):
            tar.add(pathlib.Path(library).resolve(), f"/opt/lib/{pathlib.Path(library).name}")


SCRIPT = """
tar -xf detectors.tar -C / || exit 90
echo "systemd-detect-virt: $(LD_LIBRARY_PATH=/opt/lib systemd-detect-virt --vm)"
said=$(virt-what)
status=$?
echo "virt-what:" $said
echo "virt-what ended with $status"
./machine
"""


class Machine(GuestTest):
    def look(self, *options):
        """What the detectors said, by name, and the names of our own list's findings."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            compile_c(PROGRAMS / "machine.c", folder / "machine", *FLAGS)
            bring_detectors(folder / "detectors.tar")
            result = run(["sh", "-c", SCRIPT], "--copy", folder / "machine", "--copy",
                         folder / "detectors.tar", "--behaviours", "none", *options)
        text = result.stdout.decode(errors="replace")
        self.assertEqual(result.code, 0, text + result.stderr[-3000:])
        self.assertIn("virt-what ended with 0", text)
        self.assertGreater(int(re.search(r"looked at (\d+) places", text)[1]), 100, text)
        said = dict(re.findall(r"^(systemd-detect-virt|virt-what): ?(.*)$", text, re.M))
        return said, set(re.findall(r"^found ([^:]*):", text, re.M)), text

    def test_the_usual_machine_is_found_out(self):
        said, found, text = self.look()
        self.assertEqual(said["systemd-detect-virt"], "qemu", text)
        self.assertIn("qemu", said["virt-what"], text)
        for sign in ("hypervisor bit", "hypervisor leaf", "processor brand", "cpuinfo", "processors",
                     "dmi", "smbios", "acpi tables", "acpi devices", "rom", "pci device",
                     "pci subsystem", "virtio", "disk name", "disk size", "network card", "memory", "uptime",
                     "kernel", "kernel log", "vmware port", "fw_cfg port"):
            with self.subTest(sign):
                self.assertIn(sign, found, text)

    def test_the_pc_is_not(self):
        said, found, text = self.look("--stealth")
        self.assertEqual(said, {"systemd-detect-virt": "none", "virt-what": ""}, text)
        self.assertEqual(found, KNOWN, text)

    def test_the_pc_is_watched(self):
        """Hooks, output of both kinds and the exit status come through as in any machine."""
        result = run(["sh", "-c", "seq 1 20000; echo error >&2; cat /etc/hostname >copy; exit 7"],
                     "--stealth")
        self.assertEqual(result.code, 7, result.stderr[-3000:])
        self.assertEqual(result.stdout.split(), [str(n).encode() for n in range(1, 20001)])
        self.assertIn("error\n", result.stderr)
        self.assert_nothing_lost(result)
        self.assertIn("/root/copy", {e.get("file", {}).get("path")
                                     for e in result.actions("file_created")})


if __name__ == "__main__":
    unittest.main()
