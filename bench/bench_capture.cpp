// What a hit costs in the capture machine and the ring, on warm memory.
#include <benchmark/benchmark.h>

#include <array>

#include "capture/assembler.h"
#include "capture/executable.h"
#include "capture/machine.h"
#include "capture/merger.h"
#include "capture/rate_limiter.h"
#include "capture/ring_memory.h"
#include "capture/set_table.h"
#include "capture/verifier.h"
#include "memory/test_guest.h"

namespace glasshook::capture {
namespace {

/// A task with a chain of five dentries: name at +0 of each, parent pointer at +40.
class World {
 public:
  World() {
    cpu.space = guest.new_space();
    environment = {&guest.ram(), cpu.space, &sets, &limiters};
    constexpr std::string_view kNames[] = {"passwd-backup.txt", "settings", "user", "home", "/"};
    constexpr std::uint64_t kDentry = 0xffff'8880'0000'0000;
    for (std::uint64_t i = 0; i < std::size(kNames); ++i) {
      const Gpa page = guest.map_new(cpu.space, Gva{kDentry + i * kPageSize});
      guest.write(page, kNames[i]);
      guest.store(page + 40, kDentry + std::min<std::uint64_t>(i + 1, 4) * kPageSize);
    }
    cpu.gpr[static_cast<int>(CpuRegister::rdi)] = kDentry;
  }

  test::TestGuest guest;
  CpuState cpu;
  Environment environment;
  SetTable sets = SetTable::create().value();
  RateLimiterTable limiters{1'000'000'000};
  SavedSlots saved{};
  alignas(8) std::array<std::byte, kMaxRecordBytes> buffer;
  Workspace work{buffer};
};

void run_program(benchmark::State& state, std::string_view text) {
  World world;
  const Program verified = assemble(text).value();
  if (!verify(verified, ProgramRole::entry)) return state.SkipWithError("refused");
  const Executable program(verified);
  const RecordHeader header;
  RunResult result;
  for (auto _ : state) {
    result = run(program, world.cpu, world.environment, world.saved, header, world.work);
    benchmark::DoNotOptimize(world.buffer);
  }
  state.counters["record"] = result.record_size;
}

constexpr std::string_view kPath = R"(
.back_jumps 64
  load_cpu r1, rdi
  load_cpu r2, rip
  load_memory r3, [r1 + 8], 8
  load_memory r4, [r1 + 16], 4
  move r5, r3
  shift_right r5, 12
  emit_words 1, r1, 6
  begin_list 16
again:
  append_string r1, 255
  load_memory r6, [r1 + 40], 8
  jump_eq r6, r1, out
  jump_fault out
  move r1, r6
  jump_back again
out:
  end_list r0
  send
)";

constexpr std::string_view kFiltered = R"(
  load_cpu r1, rdi
  load_memory r2, [r1 + 8], 8
  set_has r3, r2, 5
  jump_eq r3, 0, no
  send
no:
  stop
)";

constexpr std::string_view kWordsOnly = R"(
  load_cpu r1, rdi
  load_cpu r2, rsi
  load_cpu r3, rdx
  emit_words 1, r1, 3
  send
)";

void BM_PathOfFiveComponents(benchmark::State& state) { run_program(state, kPath); }
BENCHMARK(BM_PathOfFiveComponents);
void BM_FilteredBySet(benchmark::State& state) { run_program(state, kFiltered); }
BENCHMARK(BM_FilteredBySet);
void BM_WordsOnly(benchmark::State& state) { run_program(state, kWordsOnly); }
BENCHMARK(BM_WordsOnly);

void BM_RingPush(benchmark::State& state) {
  RingMemory memory(1 << 20);
  Doorbell bell;
  RingProducer producer = RingProducer::create(memory.bytes(), &bell).value();
  auto record = make_record(0, 200);
  std::uint64_t now = 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(producer.begin([&] { return ++now; }));
    producer.push(record);
    producer.end();
    memory.header().tail.store(memory.header().head, std::memory_order_relaxed);
  }
}
BENCHMARK(BM_RingPush);

void BM_PushAndMerge(benchmark::State& state) {
  RingMemory memory[2] = {RingMemory(1 << 20), RingMemory(1 << 20)};
  std::vector<RingProducer> producers;
  std::vector<RingConsumer> consumers;
  for (RingMemory& m : memory) {
    producers.push_back(RingProducer::create(m.bytes(), nullptr).value());
    consumers.push_back(RingConsumer::attach(m.bytes()).value());
  }
  std::uint64_t now = 1;
  RingMerger merger(std::move(consumers), [&] { return now; }, 1000);
  std::uint64_t records = 0;
  for (auto _ : state) {
    for (int i = 0; i < 1000; ++i) push_at(producers[i % 2], ++now, 200);
    merger.drain([&](const RecordView& r) { records += r.fields().size(); });
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(records));
}
BENCHMARK(BM_PushAndMerge);

void BM_SetHas(benchmark::State& state) {
  SetTable sets = SetTable::create().value();
  for (std::uint64_t key = 1; key < 500; ++key) sets.add(1, key);
  std::uint64_t key = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sets.has(1, ++key & 1023));
}
BENCHMARK(BM_SetHas);

}  // namespace
}  // namespace glasshook::capture
