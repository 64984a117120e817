#!/usr/bin/env python3
"""What a hit under KVM takes, in guest instructions: kvm_hits.py [ROUNDS]. Prints JSON rows.

The processor with virtualisation is emulated by a QEMU that counts instructions (-icount), so its time-stamp counter is
that count: rows are repeatable, however busy the machine is. `value` is what one open() and close() take all in all, with
the exits to the host's kernel and QEMU; the difference to the case `without` is a hit: in `name`, one that captures the
call with its file name from the program's memory; in `path`, one of the file behaviours, which has the file's path from the
kernel's structures.
"""

import json
import os
import pathlib
import shlex
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "guest"))

from harness import GLASSHOOK, compile_c, glasshook, image_directory  # noqa: E402
from int3_intercept import QEMU, corrected_qemu  # noqa: E402
from running_guest import cpio  # noqa: E402
from test_kvm import HOST, LIBRARY, PROGRAMS, libraries_of  # noqa: E402

OPENS = 2000
WRAPPER = """#!/bin/sh
# The emulator, counting instructions.
for word; do
  shift
  case $word in tcg,thread=multi) word=tcg,thread=single counts=1 ;; esac
  set -- "$@" "$word"
done
[ -z "${counts-}" ] || set -- "$@" -icount shift=0,sleep=off
exec %s "$@"
"""


def counting_qemu(prefix):
    """The directory of a QEMU that counts, to come first in PATH."""
    corrected, why_not = corrected_qemu(ROOT / "build" / "int3-intercept")
    if corrected is None:
        sys.exit(why_not)
    real = prefix / "lib" / QEMU  # what lies there can be run in QEMU's cage
    wrapper = prefix / "bin" / QEMU
    for file in (real, wrapper):
        file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(corrected / QEMU, real)
    wrapper.write_text(WRAPPER % shlex.quote(str(real)))
    wrapper.chmod(0o755)
    if not (prefix / "share").exists():
        (prefix / "share").symlink_to((corrected.parent / "share").resolve())
    return wrapper.parent


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    assert glasshook("image", "build", HOST, timeout=1800).returncode == 0
    qemu = counting_qemu(ROOT / "build" / "counting-qemu")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "lib").mkdir()
        for library in libraries_of(GLASSHOOK, LIBRARY):
            shutil.copy(library, folder / "lib")
        shutil.copy(GLASSHOOK, folder / "glasshook")
        shutil.copytree(ROOT / "apis" / "linux", folder / "apis" / "linux")
        (folder / "apis" / "windows").mkdir()
        (folder / "apis" / "windows" / "none.api").write_text("# nothing of Windows is needed\n")
        compile_c(PROGRAMS / "inner_init.c", folder / "init", "-static")
        (folder / "inner.cpio").write_bytes(cpio({"init": (folder / "init").read_bytes()}))
        given = [folder / "lib", folder / "glasshook", folder / "apis", folder / "inner.cpio", LIBRARY,
                 image_directory(HOST) / "vmlinuz", ROOT / "bench" / "programs" / "kvm_hits.sh"]
        copies = [word for file in given for word in ("--copy", file)]
        done = glasshook("run", "--guest", HOST, "--memory", "1G", "--behaviours", "none", "--all-processes", "--quiet",
                         *copies, "--", "sh", "./kvm_hits.sh", OPENS, rounds,
                         env={"PATH": f"{qemu}:{os.environ['PATH']}"}, timeout=1800)
    sys.stderr.write(done.stderr.decode(errors="replace"))
    if done.returncode != 0:
        sys.exit(done.returncode)
    for line in done.stdout.decode().splitlines():
        case, number, ticks = line.split()
        print(json.dumps({"part": "kvm", "work": "open", "case": case, "round": int(number),
                          "metric": "guest_instructions", "value": int(ticks)}))


if __name__ == "__main__":
    main()
