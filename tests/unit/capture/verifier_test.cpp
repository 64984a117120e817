#include "capture/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/assembler.h"

namespace glasshook::capture {
namespace {

using ::testing::HasSubstr;

/// What verify() says; "" when it agrees.
std::string verdict(const Program& program, ProgramRole role = ProgramRole::entry) {
  const auto result = verify(program, role);
  return result ? "" : result.error().message;
}

/// One instruction, then stop.
std::string verdict(const Instruction& in, ProgramRole role = ProgramRole::entry) {
  return verdict(
      Program{
          .code = {in, {.op = Op::stop}}, .patterns = {{PatternKind::equal, "x"}}, .back_jumps = 1},
      role);
}

std::string verdict(std::string_view text, ProgramRole role = ProgramRole::entry) {
  const auto program = assemble(text);
  return program ? verdict(*program, role) : "assemble: " + program.error().message;
}

TEST(Verifier, AcceptsEveryOperation) {
  EXPECT_EQ(verdict(".back_jumps 4\n.pattern glob \"a*\"\n"
                    "load_cpu r0, rdi\n move r1, 5\n add r1, r0\n load_memory r2, [r0 + 8], 8\n"
                    "sign_extend r2, 4\n save 7, r2\nback:\n jump_eq r1, 6, out\n jump_fault out\n"
                    "match_string r3, r0, 0, kernel\n set_has r3, r0, 63\n set_add r0, 0\n"
                    "set_remove r0, 0\n rate_limit 4095, out\n jump_back back\nout:\n"
                    "emit_words 65535, r12, 4\n emit_string 1, r0, 8192\n"
                    "emit_utf16 1, r0, -, 1\n emit_bytes 1, r0, r2, 1\n begin_list 1\n"
                    "append_string r0, 1, kernel\n append_chain r0, r14, r15, 4096, 0, 8192\n"
                    "end_list r0\n arm_return\n send"),
            "");
}

TEST(Verifier, RefusesProgramsOfTheWrongSize) {
  EXPECT_THAT(verdict(Program{}), HasSubstr("empty"));
  Program longest;
  longest.code.resize(kMaxInstructions);
  EXPECT_EQ(verdict(longest), "");
  longest.code.emplace_back();
  EXPECT_THAT(verdict(longest), HasSubstr("1025 instructions"));
  EXPECT_THAT(verdict(Program{.code = {{}}, .patterns = {}, .back_jumps = kMaxBackJumps + 1}),
              HasSubstr("jump back"));
}

TEST(Verifier, RefusesBadPools) {
  Program program{.code = {{}}, .patterns = {}, .back_jumps = 0};
  program.patterns = {{PatternKind{9}, "x"}};
  EXPECT_THAT(verdict(program), HasSubstr("unknown kind"));
  program.patterns = {{PatternKind::equal, std::string(kMaxPatternBytes + 1, 'x')}};
  EXPECT_THAT(verdict(program), HasSubstr("1025 bytes"));
  program.patterns = {{PatternKind::equal, std::string(1, '\0')}};
  EXPECT_THAT(verdict(program), HasSubstr("NUL"));
  program.patterns.assign(17, {PatternKind::equal, std::string(kMaxPatternBytes, 'x')});
  EXPECT_THAT(verdict(program), HasSubstr("17 patterns"));
  program.patterns.assign(kMaxPatterns + 1, {PatternKind::equal, ""});
  EXPECT_THAT(verdict(program), HasSubstr("257 patterns"));
}

TEST(Verifier, RefusesUnknownOperations) {
  EXPECT_THAT(verdict(Instruction{.op = Op::count_}), HasSubstr("unknown operation"));
  EXPECT_THAT(verdict(Instruction{.op = Op{255}}), HasSubstr("unknown operation"));
}

TEST(Verifier, RefusesRegistersThatDoNotExist) {
  constexpr std::string_view kFault = "register";
  for (const Op op : {Op::load_cpu, Op::move, Op::load_memory, Op::sign_extend, Op::match_string,
                      Op::set_has, Op::jump_eq}) {
    EXPECT_THAT(verdict(Instruction{.op = op, .dst = 16}), HasSubstr(kFault));
  }
  for (const Op op : {Op::move, Op::load_memory, Op::save, Op::match_string, Op::set_has,
                      Op::set_add, Op::set_remove, Op::jump_eq}) {
    EXPECT_THAT(verdict(Instruction{.op = op, .src = 16}), HasSubstr(kFault));
  }
  for (const Op op : {Op::load_memory, Op::save, Op::match_string, Op::set_has}) {
    EXPECT_THAT(verdict(Instruction{.op = op, .src = kImmediate}), HasSubstr(kFault));
  }
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_words, .dst = 15, .size = 2}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_words, .dst = 15, .size = 0}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_words, .dst = 15, .size = 255}),
              HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_utf16, .size = 16, .offset = 1}),
              HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_string, .dst = 16, .offset = 1}),
              HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::load_cpu, .imm = 26}), HasSubstr("processor register"));
}

TEST(Verifier, RefusesOperandsOutOfRange) {
  EXPECT_THAT(verdict(Instruction{.op = Op::load_memory, .size = 3}), HasSubstr("size"));
  EXPECT_THAT(verdict(Instruction{.op = Op::load_memory, .size = 16}), HasSubstr("size"));
  EXPECT_THAT(verdict(Instruction{.op = Op::sign_extend, .size = 0}), HasSubstr("size"));
  EXPECT_THAT(verdict(Instruction{.op = Op::load_memory, .size = 8, .imm = 2}), HasSubstr("space"));
  EXPECT_THAT(verdict(Instruction{.op = Op::match_string, .size = 2}), HasSubstr("space"));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_string, .src = 2, .offset = 1}),
              HasSubstr("space"));
  EXPECT_THAT(verdict(Instruction{.op = Op::save, .imm = 8}), HasSubstr("slot"));
  EXPECT_THAT(verdict(Instruction{.op = Op::load_saved, .imm = 8}, ProgramRole::exit),
              HasSubstr("slot"));
  EXPECT_THAT(verdict(Instruction{.op = Op::match_string, .imm = 1}), HasSubstr("pattern"));
  EXPECT_THAT(verdict(Instruction{.op = Op::set_has, .imm = kSetCount}), HasSubstr("set"));
  EXPECT_THAT(verdict(Instruction{.op = Op::set_add, .imm = kSetCount}), HasSubstr("set"));
  EXPECT_THAT(verdict(Instruction{.op = Op::rate_limit, .imm = kLimiterCount}),
              HasSubstr("limiter"));
}

TEST(Verifier, RefusesFieldsOutOfRange) {
  for (const Op op : {Op::emit_string, Op::emit_utf16, Op::emit_bytes}) {
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = 0}), HasSubstr("cap"));
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = -1}), HasSubstr("cap"));
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = 8193}), HasSubstr("cap"));
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = 1, .imm = 0x10000}), HasSubstr("field id"));
  }
  EXPECT_THAT(verdict(Instruction{.op = Op::append_string, .offset = 0}), HasSubstr("cap"));
  EXPECT_THAT(verdict(Instruction{.op = Op::begin_list, .imm = 0x10000}), HasSubstr("field id"));
  const auto chain = [](const ChainStep& step, std::int32_t name = 0) {
    return verdict(Instruction{
        .op = Op::append_chain, .offset = name, .imm = std::bit_cast<std::uint64_t>(step)});
  };
  EXPECT_THAT(verdict(Instruction{.op = Op::append_chain, .src = 15}), HasSubstr("above r15"));
  EXPECT_THAT(verdict(Instruction{.op = Op::append_chain, .size = 16}), HasSubstr("above r15"));
  EXPECT_THAT(chain({.next = 0, .max = 0}), HasSubstr("cap"));
  EXPECT_THAT(chain({.next = 0, .max = 8193}), HasSubstr("cap"));
  EXPECT_THAT(chain({.next = 4097, .max = 1}), HasSubstr("offset"));
  EXPECT_THAT(chain({.next = 0, .max = 1}, 4097), HasSubstr("offset"));
  EXPECT_THAT(chain({.next = 0, .max = 1}, -1), HasSubstr("offset"));
  EXPECT_THAT(chain({.next = 0, .max = 1, .reserved = 1}), HasSubstr("mean nothing"));
  EXPECT_THAT(verdict(Instruction{.op = Op::emit_words, .size = 1, .imm = 0x10000}),
              HasSubstr("field id"));
}

TEST(Verifier, RefusesValuesInFieldsAnOperationDoesNotUse) {
  constexpr std::string_view kFault = "does not use";
  EXPECT_THAT(verdict(Instruction{.op = Op::stop, .imm = 1}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::move, .size = 1}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::move, .src = 1, .imm = 1}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::jump, .dst = 1}), HasSubstr(kFault));
  EXPECT_THAT(verdict(Instruction{.op = Op::append_string, .offset = 1, .imm = 4}),
              HasSubstr(kFault));
}

TEST(Verifier, RefusesJumpsOutOfTheProgram) {
  for (const Op op : {Op::jump, Op::jump_eq, Op::jump_any_bit, Op::jump_fault, Op::rate_limit}) {
    EXPECT_EQ(verdict(Instruction{.op = op, .offset = 0}), "");
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = 1}), HasSubstr("out of the program"));
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = INT32_MAX}),
                HasSubstr("out of the program"));
    EXPECT_THAT(verdict(Instruction{.op = op, .offset = -1}), HasSubstr("must jump forward"));
  }
  EXPECT_EQ(verdict(Instruction{.op = Op::jump_back, .offset = -1}), "");
  EXPECT_THAT(verdict(Instruction{.op = Op::jump_back, .offset = 0}), HasSubstr("backward"));
  EXPECT_THAT(verdict(Instruction{.op = Op::jump_back, .offset = -2}),
              HasSubstr("out of the program"));
  EXPECT_THAT(verdict(Instruction{.op = Op::jump_back, .offset = INT32_MIN}),
              HasSubstr("out of the program"));
}

TEST(Verifier, RefusesFallingOffTheEnd) {
  EXPECT_THAT(verdict("move r0, 1"), HasSubstr("fall off the end"));
  EXPECT_THAT(verdict("a:\n jump_eq r0, 0, b\n stop\nb:\n arm_return"),
              HasSubstr("fall off the end"));
}

TEST(Verifier, KeepsRolesApart) {
  constexpr std::string_view kSave = "save 0, r0\n stop";
  constexpr std::string_view kArm = "arm_return\n stop";
  constexpr std::string_view kLoad = "load_saved r0, 0\n stop";
  EXPECT_EQ(verdict(kSave, ProgramRole::entry), "");
  EXPECT_EQ(verdict(kArm, ProgramRole::entry), "");
  EXPECT_EQ(verdict(kLoad, ProgramRole::exit), "");
  for (const ProgramRole role : {ProgramRole::exit, ProgramRole::context}) {
    EXPECT_THAT(verdict(kSave, role), HasSubstr("entry programs only"));
    EXPECT_THAT(verdict(kArm, role), HasSubstr("entry programs only"));
  }
  for (const ProgramRole role : {ProgramRole::entry, ProgramRole::context})
    EXPECT_THAT(verdict(kLoad, role), HasSubstr("exit programs only"));
}

TEST(Verifier, WantsListsWellFormedOnEveryPath) {
  EXPECT_THAT(verdict("append_string r0, 1\n stop"), HasSubstr("needs an open list"));
  EXPECT_THAT(verdict("append_chain r0, r1, r3, 0, 0, 1\n stop"), HasSubstr("needs an open list"));
  EXPECT_THAT(verdict("end_list r0\n stop"), HasSubstr("needs an open list"));
  EXPECT_THAT(verdict("begin_list 1\n begin_list 2\n stop"), HasSubstr("inside a list"));
  EXPECT_THAT(verdict("begin_list 1\n emit_words 1, r0, 1\n stop"), HasSubstr("open list"));
  EXPECT_THAT(verdict("begin_list 1\n send"), HasSubstr("open list"));
  EXPECT_EQ(verdict("begin_list 1\n stop"), "");
  EXPECT_THAT(verdict("jump_eq r0, 0, in\n begin_list 1\nin:\n stop"), HasSubstr("both"));
  EXPECT_THAT(verdict(".back_jumps 1\nback:\n begin_list 1\n jump_back back"), HasSubstr("both"));
  EXPECT_EQ(verdict(".back_jumps 1\n begin_list 1\nback:\n append_string r0, 1\n"
                    "jump_eq r0, 0, out\n jump_back back\nout:\n end_list r0\n send"),
            "");
}

TEST(Verifier, ToleratesDeadCodeUnlessItIsJumpedBackTo) {
  EXPECT_EQ(verdict("stop\n append_string r0, 1\n stop"), "");
  EXPECT_THAT(verdict("jump over\ndead:\n stop\nover:\n jump_back dead"),
              HasSubstr("nothing before it reaches"));
}

TEST(Verifier, NamesTheInstruction) {
  EXPECT_EQ(verdict("move r0, 1\n rate_limit 5000, end\nend:\n stop"),
            "instruction 1 (rate_limit) names a limiter that does not exist");
}

}  // namespace
}  // namespace glasshook::capture
