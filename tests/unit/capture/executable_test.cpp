// Steps that do the work of several instructions do the same as these one by one.
#include "capture/executable.h"

#include <fmt/format.h>

#include <random>

#include "capture/machine_fixture.h"
#include "capture/random_program.h"
#include "capture/spread_program.h"

namespace glasshook::capture {
namespace {

class ExecutableTest : public MachineTest {
 protected:
  ExecutableTest() {
    std::mt19937_64 random(5);
    for (const Gpa page : {first_page, second_page, kernel_page})
      for (std::size_t i = 0; i < kPageSize; i += 8)
        guest.store(page + i, i % 64 == 0 ? 0 : kKernel.value + random() % (2 * kPageSize));
    guest.map(environment.kernel_space, kLarge, Gpa{kLargeSize}, kLargeSize);
    for (const Gva page : {kLarge, kLargeEnd - kPageSize})
      for (std::size_t i = 0; i < kPageSize; i += 8)
        guest.store(Gpa{kLargeSize + (page.value - kLarge.value) + i},
                    i % 64 == 0 ? random() : kLarge.value + random() % kLargeSize);
  }
  /// All that is mapped around there, with RAM behind it.
  static constexpr std::uint64_t kLargeSize = 2 << 20;
  static constexpr Gva kLarge{0xffff'8880'4000'0000}, kLargeEnd{kLarge.value + kLargeSize};

  std::vector<std::byte> record_of(const Program& program) {
    saved = {};
    const RunResult result = run_program(program);
    last = result;
    return {buffer.begin(), buffer.begin() + result.record_size};
  }
  void expect_same(const Program& program) {
    const auto together = record_of(program);
    const RunResult result = last;
    const SavedSlots slots = saved;
    EXPECT_EQ(record_of(spread(program)), together) << disassemble(program);
    EXPECT_EQ(last.outcome, result.outcome) << disassemble(program);
    EXPECT_EQ(last.return_armed, result.return_armed);
    EXPECT_EQ(saved, slots);
  }

  [[nodiscard]] Outcome last_outcome() const { return last.outcome; }

  RunResult last;
};

TEST_F(ExecutableTest, RandomProgramsDoTheSameWhenSpread) {
  RandomPrograms programs(21);
  for (int round = 0; round < 5000; ++round) {
    const Program program = programs.next(ProgramRole::entry);
    if (has_memory(program)) continue;
    expect_same(program);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(ExecutableTest, SeveralLoadsDoTheSameWhenSpread) {
  std::mt19937_64 random(6);
  const auto reg = [&] { return "r" + std::to_string(random() % 4); };
  const auto load = [&](const std::string& base) {
    constexpr std::array kSizes = {8, 8, 8, 4, 2, 1};
    return " load_memory " + reg() + ", [" + base + " + " +
           std::to_string(random() % 512 * 8 + (random() % 16 == 0 ? 3 : 0)) + "], " +
           std::to_string(kSizes[random() % kSizes.size()]) +
           (random() % 16 == 0 ? "\n" : ", kernel\n");
  };
  for (int round = 0; round < 4000; ++round) {
    const std::uint64_t bases[] = {kKernel.value, kLarge.value, kLargeEnd.value - 2 * kPageSize,
                                   kLargeEnd.value - random() % kPageSize};
    std::string text = ".back_jumps 3\n";
    for (int i = 0; i < 4; ++i)
      text += " move r" + std::to_string(i) + ", " + std::to_string(bases[random() % 4]) + "\n";
    text += "again:\n";
    for (int i = 0; i < 6; ++i) {
      if (random() % 8 == 0) text += " jump_fault out\n";
      if (i < 3 && random() % 8 == 0) text += " jump_eq " + reg() + ", " + reg() + ", middle\n";
      if (i == 3) text += "middle:\n";
      const std::string base = reg();
      for (std::uint64_t n = random() % 6; n > 0; --n) text += load(base);
    }
    text += " add r5, 1\n jump_gt r5, " + std::to_string(random() % 5) + ", out\n move " + reg() +
            ", " + reg() + "\n jump_back again\nout:\n emit_words 1, r0, 6\n send\n";
    const auto program = assemble(text);
    ASSERT_TRUE(program) << program.error().message << text;
    ASSERT_TRUE(verify(*program, ProgramRole::entry)) << text;
    expect_same(*program);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(ExecutableTest, AChainDoesWhatItsPartsDo) {
  constexpr std::string_view kBegin =
      ".back_jumps {}\n move r0, {}\n move r2, {}\n move r3, {}\n move r4, {}\n begin_list 1\n";
  constexpr std::string_view kEnd =
      "jump end\nfault:\n move r5, 1\nend:\n end_list r5\n emit_words 2, r0, 5\n send\n";
  constexpr std::string_view kParts =
      "again:\n load_memory r1, [r0 + {0}], 8, kernel\n load_memory r7, [r0 + {1}], 8, kernel\n"
      "jump_fault fault\n append_string r7, {2}, kernel\n jump_ne r1, r0, other\n move r1, 0\n"
      "other:\n move r0, r1\n move r1, 0\n sub r4, 1\n jump_eq r4, 0, end\n jump_eq r0, 0, end\n"
      "jump_eq r0, r2, end\n jump_eq r0, r3, end\n jump_back again\n";
  constexpr std::string_view kChain = "append_chain r0, r2, r4, {}, {}, {}\n jump_fault fault\n";
  std::mt19937_64 random(8);
  const Gva pages = kLarge + (1 << 30);  // the same memory once more, in pages
  for (std::uint64_t at = 0; at < kLargeSize; at += kPageSize)
    guest.map(environment.kernel_space, pages + at, Gpa{kLargeSize + at});
  for (int round = 0; round < 3000; ++round) {
    const Gva begin = random() % 2 == 0 ? kLarge : pages;
    const std::uint64_t last = random() % 2 == 0 ? kPageSize : kLargeSize;
    const auto object = [&] { return begin.value + last - 64 * (random() % 10) - random() % 2; };
    for (std::uint64_t at = last - 640; at < last; at += 8)
      guest.store(Gpa{kLargeSize + at}, random() % 8 == 0 ? random() % 3 : object());
    const std::size_t next = random() % 3 * 8, name = random() % 8 * 8, max = 1 + random() % 300;
    const auto program = [&, jumps = random() % 12, start = object(), end = object(),
                          other = object(), count = random() % 10](std::string_view body) {
      return *assemble(fmt::format(kBegin, jumps, start, end, other, count) +
                       fmt::format(fmt::runtime(body), next, name, max) + std::string(kEnd));
    };
    const Program chain = program(kChain);
    ASSERT_TRUE(verify(chain, ProgramRole::entry));
    const auto by_chain = record_of(chain);
    const Outcome outcome = last_outcome();
    ASSERT_EQ(record_of(program(kParts)), by_chain) << disassemble(chain);
    ASSERT_EQ(last_outcome(), outcome);
  }
}

TEST_F(ExecutableTest, AChainDoesNothingAfterAFault) {
  EXPECT_EQ(value_of("move r1, " + std::to_string(kLarge.value) +
                     "\n load_memory r5, [r9], 8, kernel\n move r0, r1\n move r4, 3\n"
                     "begin_list 2\n append_chain r0, r2, r4, 8, 16, 255\n jump_fault out\n"
                     "move r0, 0\nout:\n end_list r4"),
            kLarge.value);
  EXPECT_EQ(field(2).data.size(), 0u);
}

TEST_F(ExecutableTest, LoadsFarFromEachOtherAreLookedForOneByOne) {
  // The distance between the two is that of regions which share a place in the reader's memory.
  constexpr std::uint64_t kApart = 16 * kLargeSize;
  guest.store(Gpa{kLargeSize}, std::uint64_t{7});
  EXPECT_EQ(value_of("move r1, " + std::to_string(kLarge.value) +
                     "\n load_memory r0, [r1], 8, kernel\n load_memory r2, [r1 + " +
                     std::to_string(kApart) + "], 8, kernel\n load_memory r3, [r1], 8, kernel\n" +
                     " jump_fault out\n move r0, 1\nout:"),
            7u);
}

TEST_F(ExecutableTest, AJumpIntoAPairFindsItsSecondPart) {
  guest.store(kernel_page + 8, std::uint64_t{7});
  guest.store(kernel_page + 16, std::uint64_t{9});
  const std::string base = std::to_string(kKernel.value);
  EXPECT_EQ(value_of("move r1, " + base + "\n jump_eq r0, 0, second\n" +
                     " load_memory r0, [r1 + 8], 8, kernel\n"
                     "second:\n load_memory r2, [r1 + 16], 8, kernel\n add r0, r2"),
            9u);
}

TEST_F(ExecutableTest, AnEmptyOneSendsNothing) {
  EXPECT_EQ(run(Executable(), cpu, environment, saved, header, work).outcome, Outcome::stopped);
}

TEST_F(ExecutableTest, SaysWhetherItLooksAtTheTime) {
  EXPECT_FALSE(Executable(*assemble("send")).uses_time());
  EXPECT_TRUE(Executable(*assemble("rate_limit 3, no\n send\nno:\n stop")).uses_time());
}

}  // namespace
}  // namespace glasshook::capture
