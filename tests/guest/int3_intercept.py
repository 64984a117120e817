"""A QEMU whose emulation of AMD's virtualisation lets KVM see a guest's breakpoint instructions.

The distribution's checks a guest's INT3 against the intercept of software interrupts (exit code 0x75) instead of
that of exception 3 (0x43), so INT3 never exits. A copy with that one constant corrected is made, for tests.
"""

import shutil
import pathlib

QEMU = "qemu-system-x86_64"
# xor edx,edx; mov esi,0x75; call cpu_svm_check_intercept_param
CHECK = bytes([0x31, 0xD2, 0xBE, 0x75, 0, 0, 0, 0xE8])
CORRECT = 0x43


def corrected_qemu(prefix):
    """The directory that holds such a QEMU, to come first in PATH, and None; or None, and why there is none."""
    original = shutil.which(QEMU)
    if original is None:
        return None, f"there is no {QEMU}"
    program = bytearray(pathlib.Path(original).read_bytes())
    if program.count(CHECK) != 1:
        return None, f"{original}: the check of INT3's intercept is there {program.count(CHECK)} times, not once"
    program[program.index(CHECK) + 3] = CORRECT
    corrected = prefix / "bin" / QEMU
    corrected.parent.mkdir(parents=True, exist_ok=True)
    # A file that stays the same keeps the snapshots that it made.
    if not corrected.exists() or corrected.read_bytes() != program:
        corrected.write_bytes(program)
        corrected.chmod(0o755)
    # QEMU looks for its firmware beside itself.
    if not (prefix / "share").exists():
        (prefix / "share").symlink_to(pathlib.Path(original).resolve().parents[1] / "share")
    return corrected.parent, None
