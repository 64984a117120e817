// String matches, sets and rate limits.
#include "capture/machine_fixture.h"

namespace glasshook::capture {
namespace {

class MachineFilterTest : public MachineTest {
 protected:
  bool matches(std::string_view pattern, std::string_view text) {
    guest.write(first_page, text);
    guest.store(first_page + text.size(), std::uint8_t{0});
    return value_of(fmt::format(".pattern {}\n move r1, 0x400000\n match_string r0, r1, 0",
                                pattern)) == 1;
  }
};

TEST_F(MachineFilterTest, MatchesStrings) {
  EXPECT_TRUE(matches("equal \"/tmp\"", "/tmp"));
  EXPECT_FALSE(matches("equal \"/tmp\"", "/tmp/x"));
  EXPECT_FALSE(matches("equal \"/tmp\"", "/tm"));
  EXPECT_TRUE(matches("equal \"\"", ""));
  EXPECT_FALSE(matches("equal \"\"", "x"));
  EXPECT_TRUE(matches("prefix \"/tmp/\"", "/tmp/x"));
  EXPECT_FALSE(matches("prefix \"/tmp/\"", "/tmp"));
  EXPECT_TRUE(matches("prefix \"\"", "anything"));
  EXPECT_TRUE(matches("suffix \".so\"", "/lib/libc.so"));
  EXPECT_FALSE(matches("suffix \".so\"", "/lib/libc.so.6"));
  EXPECT_TRUE(matches("glob \"/home/*/.ssh/*\"", "/home/jo/.ssh/id"));
  EXPECT_FALSE(matches("glob \"/home/*/.ssh/*\"", "/home/jo/ssh/id"));
}

TEST_F(MachineFilterTest, MatchesAcrossPagesAndInTheKernel) {
  guest.write(first_page + (kPageSize - 2), std::string_view("ab"));
  guest.write(second_page, std::string_view("cd\0", 3));
  EXPECT_EQ(value_of(".pattern equal \"abcd\"\n move r1, 0x400ffe\n match_string r0, r1, 0"), 1u);
  guest.write(kernel_page, std::string_view("init\0", 5));
  EXPECT_EQ(value_of(".pattern equal \"init\"\n move r1, 0xffff888000000000\n"
                     "match_string r0, r1, 0, kernel"),
            1u);
}

TEST_F(MachineFilterTest, WhatCannotBeReadDoesNotMatch) {
  EXPECT_EQ(value_of(".pattern prefix \"x\"\n move r0, 1\n match_string r0, r15, 0"), 0u);
  guest.write(second_page + (kPageSize - 2), std::string_view("ab"));  // then memory ends
  EXPECT_EQ(value_of(".pattern prefix \"ab\"\n move r1, 0x401ffe\n match_string r0, r1, 0"), 1u);
  EXPECT_EQ(value_of(".pattern prefix \"abc\"\n move r1, 0x401ffe\n match_string r0, r1, 0"), 0u);
  EXPECT_EQ(value_of(".pattern suffix \"ab\"\n move r1, 0x401ffe\n match_string r0, r1, 0"), 0u);
}

TEST_F(MachineFilterTest, TextsBeyondTheLimitMatchByPrefixOnly) {
  const std::string text(kMaxMatchBytes + 10, 'a');
  guest.map(cpu.space, Gva{0x80'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.write(Gpa{0x20'0000}, std::string_view(text));
  EXPECT_EQ(value_of(".pattern prefix \"aa\"\n move r1, 0x800000\n match_string r0, r1, 0"), 1u);
  EXPECT_EQ(value_of(".pattern glob \"a*\"\n move r1, 0x800000\n match_string r0, r1, 0"), 0u);
  EXPECT_EQ(value_of(".pattern suffix \"a\"\n move r1, 0x80000c\n match_string r0, r1, 0"), 1u);
}

TEST_F(MachineFilterTest, EndlessMatchingEndsAsBudget) {
  guest.write(first_page, std::string_view(std::string(4000, 'a')));
  const RunResult result = run_text(
      ".back_jumps 1000\n.pattern glob \"*b\"\n move r1, 0x400000\nagain:\n"
      "match_string r0, r1, 0\n jump_back again");
  EXPECT_EQ(result.outcome, Outcome::budget);
}

TEST_F(MachineFilterTest, UsesSets) {
  EXPECT_EQ(value_of("move r1, 5\n set_has r0, r1, 3"), 0u);
  EXPECT_EQ(value_of("move r1, 5\n set_add r1, 3\n set_has r0, r1, 3"), 1u);
  EXPECT_EQ(value_of("move r1, 5\n set_has r0, r1, 4"), 0u);
  EXPECT_TRUE(sets.has(3, 5));
  EXPECT_EQ(value_of("move r1, 5\n set_remove r1, 3\n set_has r0, r1, 3"), 0u);
}

TEST_F(MachineFilterTest, RunsWithoutSetsAndLimiters) {
  environment.sets = nullptr;
  environment.limiters = nullptr;
  EXPECT_EQ(value_of("set_add r1, 3\n set_remove r2, 3\n move r0, 1\n set_has r0, r1, 3\n"
                     "rate_limit 1, no\n jump end\nno:\n stop\nend:\n"),
            0u);
}

TEST_F(MachineFilterTest, LimitsRates) {
  limiters.configure(5, 1, 2);
  constexpr std::string_view kProgram = "rate_limit 5, no\n send\nno:\n stop";
  EXPECT_EQ(run_text(kProgram).outcome, Outcome::sent);
  EXPECT_EQ(run_text(kProgram).outcome, Outcome::sent);
  EXPECT_EQ(run_text(kProgram).outcome, Outcome::rate_limited);
  header.timestamp += 1000;
  EXPECT_EQ(run_text(kProgram).outcome, Outcome::sent);
  EXPECT_EQ(limiters.denied(5), 1u);
}

TEST_F(MachineFilterTest, AStoppedRunSendsNothing) {
  const RunResult result = run_text("emit_words 1, r0, 1\n stop");
  EXPECT_EQ(result.outcome, Outcome::stopped);
  EXPECT_EQ(result.record_size, 0u);
}

}  // namespace
}  // namespace glasshook::capture
