// Programs as text and as bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "capture/assembler.h"
#include "capture/program_codec.h"
#include "capture/random_program.h"
#include "source_root.h"

namespace glasshook::capture {
namespace {

using ::testing::HasSubstr;

std::string fault(std::string_view text) {
  const auto program = assemble(text);
  return program ? "" : program.error().message;
}

TEST(Assembler, RoundTripsRandomPrograms) {
  RandomPrograms programs(21);
  for (int round = 0; round < 5000; ++round) {
    const Program program = programs.next(round % 2 ? ProgramRole::entry : ProgramRole::exit);
    const std::string text = disassemble(program);
    const auto back = assemble(text);
    ASSERT_TRUE(back) << back.error().message << "\n" << text;
    ASSERT_EQ(*back, program) << text;
  }
}

TEST(Assembler, ReadsCommentsAndSpacing) {
  const auto program = assemble(
      "; a program\n\n.pattern equal \"a;b\\\"\\\\\\x00\" ; and a comment\n"
      "start:\n\tmove   r1 ,  0x10   ; sixteen\n load_memory r2,[r1+8],4,current\n stop");
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(program->patterns[0].text, std::string("a;b\"\\\0", 6));
  EXPECT_EQ(program->code[0].imm, 16u);
  EXPECT_EQ(program->code[1].offset, 8);
}

TEST(Assembler, NamesTheLineAndTheFault) {
  EXPECT_EQ(fault("stop\n fly r1"), "line 2: unknown operation 'fly'");
  EXPECT_EQ(fault("move r16, 1"), "line 1: 'r16' is not a register");
  EXPECT_EQ(fault("move r1"), "line 1: '' is not a register or a number");
  EXPECT_EQ(fault("move r1, 5, 6"), "line 1: too many operands: '6'");
  EXPECT_EQ(fault("jump there"), "line 1: no label 'there'");
  EXPECT_EQ(fault("jump"), "line 1: a jump needs a label");
  EXPECT_EQ(fault("a:\na:"), "line 2: label 'a' stands twice");
  EXPECT_EQ(fault(":"), "line 1: '' is no name for a label");
  EXPECT_EQ(fault("load_cpu r1, ax"), "line 1: 'ax' is not a processor register");
  EXPECT_EQ(fault("load_memory r1, r2, 8"), "line 1: 'r2' is not an address");
  EXPECT_EQ(fault("load_memory r1, [r2 + 0x80000000], 8"),
            "line 1: '[r2 + 0x80000000]' is not an address");
  EXPECT_EQ(fault("load_memory r1, [r2], 8, user"), "line 1: 'user' is not a space");
  EXPECT_EQ(fault("emit_string 1, r0, 9000"), "line 1: '9000' is not a number");
  EXPECT_EQ(fault("move r1, 99999999999999999999"),
            "line 1: '99999999999999999999' is not a register or a number");
  EXPECT_EQ(fault(".back_jumps 1025"), "line 1: '1025' is not a count");
  EXPECT_THAT(fault(".pattern like \"x\""), HasSubstr("a pattern is"));
  EXPECT_THAT(fault(".pattern equal \"x"), HasSubstr("a pattern is"));
  EXPECT_THAT(fault(".pattern equal \"\\x4\""), HasSubstr("a pattern is"));
  std::string long_one;
  for (std::size_t i = 0; i <= kMaxInstructions; ++i) long_one += "stop\n";
  EXPECT_THAT(fault(long_one), HasSubstr("line 1025: more than 1024"));
}

TEST(Assembler, AcceptsTheExampleOfTheManual) {
  const auto manual = glasshook::test::source_root() / "docs/capture-program.md";
  std::ifstream file(manual);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t heading = text.find("## Example");
  ASSERT_NE(heading, std::string::npos) << manual;
  const std::size_t begin = text.find("```\n", heading) + 4;
  const auto program =
      assemble(std::string_view(text).substr(begin, text.find("```", begin) - begin));
  ASSERT_TRUE(program) << program.error().message;
  const auto verdict = verify(*program, ProgramRole::entry);
  EXPECT_TRUE(verdict) << verdict.error().message;
}

TEST(Codec, RoundTripsRandomPrograms) {
  RandomPrograms programs(22);
  for (int round = 0; round < 2000; ++round) {
    const Program program = programs.next(ProgramRole::entry);
    const auto back = deserialize(serialize(program));
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(*back, program);
  }
}

TEST(Codec, RefusesBytesCutAnywhereOrWithMoreBehind) {
  RandomPrograms programs(23);
  auto bytes = serialize(programs.next(ProgramRole::entry));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(deserialize(std::span{bytes}.first(size)));
  bytes.push_back({});
  EXPECT_FALSE(deserialize(bytes));
}

TEST(Codec, RefusesWildCounts) {
  const auto bytes = serialize(Program{.code = {{}}, .patterns = {}, .back_jumps = 0});
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 6 || i == 7) continue;  // back_jumps: any value is read, verify() judges it
    auto changed = bytes;
    changed[i] ^= std::byte{0xff};
    EXPECT_FALSE(deserialize(changed)) << "byte " << i;
  }
}

TEST(Codec, RefusesReservedBitsOfAPattern) {
  const auto program = assemble(".pattern equal \"a\"\nstop");
  ASSERT_TRUE(program);
  std::vector<std::byte> bytes = serialize(*program);
  ASSERT_TRUE(deserialize(bytes));
  bytes[bytes.size() - 4] = std::byte{1};  // the header's second byte, before length and text
  EXPECT_FALSE(deserialize(bytes));
}

}  // namespace
}  // namespace glasshook::capture
