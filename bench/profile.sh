#!/bin/bash
# profile.sh [SECONDS]: where the time of an emulated guest's QEMU goes while programs in it open, read, close and stat
# a file all the time, with the `file` behaviours: shares by library ("[JIT]" is translated code), then the probe's
# functions. Sampled by perf (Debian: linux-perf), which needs no counters of the processor.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
command -v perf >/dev/null || { echo "profile: perf is missing; try: apt-get install linux-perf" >&2; exit 1; }
scripts/build -DGLASSHOOK_BENCH=ON >&2
build/glasshook image build linux >&2
folder=$(mktemp -d)
build/glasshook run --accel tcg --behaviours file --all-processes --json "$folder/events" \
  --copy build/release/bench/workload -- ./workload storm 10000000 >"$folder/said" 2>&1 &
monitor=$!
trap 'kill -TERM $monitor 2>/dev/null || true; wait $monitor 2>/dev/null || true; rm -rf "$folder"' EXIT
until [ -s "$folder/events" ]; do
  kill -0 $monitor 2>/dev/null || { cat "$folder/said" >&2; exit 1; }
  sleep 0.2
done
perf record -q -e cpu-clock -F 2000 -p "$(pgrep -P $monitor)" -o "$folder/perf" -- sleep "$seconds" >&2
report() { perf report -i "$folder/perf" --stdio "$@" 2>/dev/null | grep -v '^#' | grep -v '^$'; }
report --sort dso
echo
report --sort sym --dsos libglasshook-qemu.so | head -n 12
