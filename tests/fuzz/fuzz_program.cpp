// Programs from hostile bytes over hostile memory: whatever verify() accepts runs, ends and leaves
// a well-formed record inside its buffer, the same when it is spread over more steps. Input: memory
// seed (4 bytes), program bytes.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "capture/assembler.h"
#include "capture/executable.h"
#include "capture/machine.h"
#include "capture/program_codec.h"
#include "capture/random_program.h"
#include "capture/rate_limiter.h"
#include "capture/set_table.h"
#include "capture/spread_program.h"
#include "memory/test_guest.h"

using namespace glasshook;           // NOLINT
using namespace glasshook::capture;  // NOLINT

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

struct World {
  test::TestGuest guest;
  CpuState cpu;
  Environment environment;
  SetTable sets = SetTable::create(64).value();
  RateLimiterTable limiters{1000};
  std::array<Gpa, 3> pages;

  World() {
    cpu.space = guest.new_space();
    environment = {&guest.ram(), guest.new_space(true), &sets, &limiters};
    pages = {guest.map_new(cpu.space, Gva{0x40'0000}), guest.map_new(cpu.space, Gva{0x40'1000}),
             guest.map_new(environment.kernel_space, Gva{0xffff'8880'0000'0000})};
    for (std::size_t i = 0; i < cpu.gpr.size(); ++i) cpu.gpr[i] = 0x40'0000 + i * 500;
    for (std::uint32_t i = 0; i < kLimiterCount; i += 2) limiters.configure(i, 1, 1);
  }

  void fill_memory(std::span<const std::byte> bytes) {
    for (const Gpa page : pages) guest.write(page, bytes.first(std::min(bytes.size(), kPageSize)));
  }
};

using Buffer = std::array<std::byte, kMaxRecordBytes>;

RunResult run_into(World& world, const Program& program, Buffer& buffer) {
  SavedSlots saved{};
  Workspace work{buffer};
  return run(Executable(program), world.cpu, world.environment, saved, RecordHeader{}, work);
}

void run_once(World& world, const Program& program) {
  alignas(8) static Buffer buffer, again;
  const RunResult result = run_into(world, program, buffer);
  require(result.record_size <= buffer.size());
  RecordView view;
  if (result.outcome == Outcome::sent || result.outcome == Outcome::budget)
    require(RecordView::parse(std::span{buffer}.first(result.record_size), view));
  // Instructions that are done in one step do the same as these one by one.
  if (has_memory(program)) return;
  const RunResult spread_result = run_into(world, spread(program), again);
  require(spread_result.outcome == result.outcome);
  require(spread_result.record_size == result.record_size);
  require(std::equal(again.begin(), again.begin() + result.record_size, buffer.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  std::uint32_t seed = 0;
  if (size < sizeof seed) return 0;
  std::memcpy(&seed, data, sizeof seed);
  const auto bytes = std::as_bytes(std::span{data, size}.subspan(sizeof seed));
  world.fill_memory(bytes);

  if (const auto program = deserialize(bytes)) {
    require(std::ranges::equal(serialize(*program), bytes));
    for (const ProgramRole role : {ProgramRole::entry, ProgramRole::exit, ProgramRole::context}) {
      if (!verify(*program, role)) continue;
      run_once(world, *program);
      require(assemble(disassemble(*program)) == *program);
    }
  }
  (void)assemble({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  run_once(world, RandomPrograms(seed).next(ProgramRole::entry));
  return 0;
}
