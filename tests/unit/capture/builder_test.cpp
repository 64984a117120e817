#include "capture/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/assembler.h"

namespace glasshook::capture {
namespace {

using ::testing::HasSubstr;

constexpr Reg r0{0}, r1{1}, r2{2};

std::string built(const Builder& builder) {
  const auto program = builder.build();
  return program ? disassemble(*program) : program.error().message;
}

TEST(Builder, WritesEveryOperation) {
  Builder b;
  const Label out = b.new_label();
  const Label back = b.new_label();
  const PatternIndex etc = b.pattern(PatternKind::prefix, "/etc/");
  b.set_back_jumps(7)
      .load_cpu(r0, CpuRegister::kernel_gs)
      .move(r1, 5)
      .alu(Op::add, r1, r0)
      .load_memory(r2, r0, -8, 4, Space::kernel)
      .sign_extend(r2, 4)
      .save(3, r2)
      .bind(back)
      .jump_if(Op::jump_ne, r1, 0, out)
      .jump_fault(out)
      .match_string(r2, r0, etc)
      .set_has(r2, r0, 1)
      .set_add(r0, 1)
      .set_remove(r0, 1)
      .rate_limit(9, out)
      .jump_back(back)
      .bind(out)
      .emit_words(1, r0, 3)
      .emit_string(2, r0, 256, Space::kernel)
      .emit_utf16(3, r0, std::nullopt, 100)
      .emit_bytes(4, r0, r1, 100)
      .begin_list(5)
      .append_string(r0, 64)
      .append_chain(r0, r1, r2, 24, 40, 255)
      .end_list(r1)
      .arm_return()
      .send();
  EXPECT_EQ(built(b),
            ".back_jumps 7\n"
            ".pattern prefix \"/etc/\"\n"
            "  load_cpu r0, kernel_gs\n"
            "  move r1, 5\n"
            "  add r1, r0\n"
            "  load_memory r2, [r0 - 8], 4, kernel\n"
            "  sign_extend r2, 4\n"
            "  save 3, r2\n"
            "L6:\n"
            "  jump_ne r1, 0, L14\n"
            "  jump_fault L14\n"
            "  match_string r2, r0, 0\n"
            "  set_has r2, r0, 1\n"
            "  set_add r0, 1\n"
            "  set_remove r0, 1\n"
            "  rate_limit 9, L14\n"
            "  jump_back L6\n"
            "L14:\n"
            "  emit_words 1, r0, 3\n"
            "  emit_string 2, r0, 256, kernel\n"
            "  emit_utf16 3, r0, -, 100\n"
            "  emit_bytes 4, r0, r1, 100\n"
            "  begin_list 5\n"
            "  append_string r0, 64\n"
            "  append_chain r0, r1, r2, 24, 40, 255\n"
            "  end_list r1\n"
            "  arm_return\n"
            "  send\n");
}

TEST(Builder, SharesEqualPatterns) {
  Builder b;
  EXPECT_EQ(b.pattern(PatternKind::equal, "x").index, 0u);
  EXPECT_EQ(b.pattern(PatternKind::prefix, "x").index, 1u);
  EXPECT_EQ(b.pattern(PatternKind::equal, "x").index, 0u);
  b.stop();
  EXPECT_EQ(b.build()->patterns.size(), 2u);
}

TEST(Builder, ReportsLabels) {
  Builder unbound;
  unbound.jump(unbound.new_label()).stop();
  EXPECT_THAT(built(unbound), HasSubstr("unbound label"));
  Builder twice;
  const Label label = twice.new_label();
  twice.bind(label).stop().bind(label);
  EXPECT_THAT(built(twice), HasSubstr("bound twice"));
  Builder foreign;
  foreign.bind(Label{4}).stop();
  EXPECT_THAT(built(foreign), HasSubstr("another builder"));
  Builder at_end;
  const Label end = at_end.new_label();
  at_end.jump(end).bind(end);
  EXPECT_THAT(built(at_end), HasSubstr("out of the program"));
  Builder wrong_way;
  const Label start = wrong_way.new_label();
  wrong_way.bind(start).jump(start);
  EXPECT_THAT(built(wrong_way), HasSubstr("must jump forward"));
}

TEST(Builder, ReportsWrongOperations) {
  EXPECT_THAT(built(Builder().alu(Op::stop, r0, 1).stop()), HasSubstr("not arithmetic"));
  Builder b;
  const Label label = b.new_label();
  b.jump_if(Op::add, r0, 1, label).bind(label).stop();
  EXPECT_THAT(built(b), HasSubstr("not a conditional jump"));
}

TEST(Builder, ReportsWhatTheVerifierSays) {
  EXPECT_THAT(built(Builder().move(Reg{16}, 1).stop()), HasSubstr("register"));
  EXPECT_THAT(built(Builder().emit_string(1, r0, 0xffff'ffff).stop()), HasSubstr("cap"));
  EXPECT_THAT(built(Builder(ProgramRole::exit).arm_return().stop()),
              HasSubstr("entry programs only"));
  EXPECT_THAT(built(Builder()), HasSubstr("empty"));
  Builder long_one;
  for (std::size_t i = 0; i <= kMaxInstructions; ++i) long_one.stop();
  EXPECT_THAT(built(long_one), HasSubstr("1025 instructions"));
}

}  // namespace
}  // namespace glasshook::capture
