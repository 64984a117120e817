"""Where programs and data are: in the source tree, or where `glasshook bench` says."""

import os
import pathlib

DATA = pathlib.Path(__file__).resolve().parents[2]  # holds bench/, apis/, guests/
GLASSHOOK = os.environ.get("GLASSHOOK", str(DATA / "build" / "glasshook"))
PROGRAMS = pathlib.Path(os.environ.get("GLASSHOOK_BENCH_PROGRAMS", DATA / "build" / "release" / "bench"))
PLUGIN = pathlib.Path(os.environ.get("GLASSHOOK_PLUGIN", DATA / "build" / "libglasshook-qemu.so"))
GUEST_PROGRAMS = DATA / "tests" / "guest" / "programs"
