// What one hooked call costs in the probe: entry and return matched, a path of five components
// captured at the return, the record put on the ring. On warm memory and without the emulator.
#include <benchmark/benchmark.h>

#include "hooked_probe.h"

namespace glasshook::hypervisor::probe {
namespace {

void run(benchmark::State& state, const hook::HookSpec& spec, bool expect_record) {
  HookedProbe probe(spec);
  for (auto _ : state) probe.call();
  const bool recorded =
      probe.counts().sent == probe.counts().hits || probe.counts().returned == probe.counts().hits;
  if (recorded != expect_record) state.SkipWithError("the hook did not do what it is measured for");
}

void BM_EntryReturnAndPath(benchmark::State& state) { run(state, path_at_return(), true); }
BENCHMARK(BM_EntryReturnAndPath);
void BM_FilteredAtEntry(benchmark::State& state) { run(state, filtered(), false); }
BENCHMARK(BM_FilteredAtEntry);

}  // namespace
}  // namespace glasshook::hypervisor::probe
