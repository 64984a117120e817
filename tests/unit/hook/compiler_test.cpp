#include "hook/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/assembler.h"
#include "hook/fake_kernel.h"

namespace glasshook::hook {
namespace {

using capture::Outcome;
using test::entry_spec;
using test::FakeKernel;
using testing::HasSubstr;

class Compiler : public testing::Test {
 protected:
  /// Runs the entry program; the outcome.
  Outcome enter(const HookSpec& spec) {
    auto compiled = kernel.compile(spec);
    EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().message);
    if (!compiled) return Outcome::stopped;
    programs = std::move(*compiled);
    return kernel.run(programs.entry);
  }
  Outcome leave(std::uint64_t result) {
    kernel.cpu.gpr[0] = result;
    return kernel.run(*programs.on_return);
  }
  /// The value of an expression over the arguments of vfs_read at entry.
  std::uint64_t value(const std::string& expression) {
    EXPECT_EQ(enter(entry_spec("vfs_read", {{.name = "x", .expression = expression}})),
              Outcome::sent);
    return kernel.word(kFirstCapture);
  }
  bool holds(const std::string& condition) {
    return enter(entry_spec("vfs_read", {}, {condition})) == Outcome::sent;
  }
  std::string error(const HookSpec& spec) {
    const auto compiled = kernel.compile(spec);
    EXPECT_FALSE(compiled.has_value());
    return compiled ? "" : compiled.error().message;
  }
  std::string error(const std::string& expression) {
    return error(entry_spec("vfs_read", {{.name = "x", .expression = expression}}));
  }

  FakeKernel kernel;
  hypervisor::HookPrograms programs;
};

TEST_F(Compiler, ContextNamesTheThreadAndItsUserState) {
  const std::uint64_t leader = kernel.make_task(40, 40, "main");
  kernel.run_as(kernel.make_task(41, 40, "worker", leader));
  ASSERT_EQ(enter(entry_spec("vfs_read", {})), Outcome::sent);
  const capture::FieldView* context = kernel.record.find(kContextField);
  ASSERT_NE(context, nullptr);
  EXPECT_EQ(context->data.size(), 8u * kContextWords);
  EXPECT_EQ(context->word(kContextPid), (40ull << 32) | 41);
  EXPECT_EQ(context->word(kContextStart), 1'000'040u);
  EXPECT_EQ(context->word(kContextUserIp), 0x401000u + 40);
  EXPECT_EQ(context->word(kContextUserSp), 0x7ffe'0000u + 40);
  EXPECT_EQ(context->word(kContextSyscall), 257u);
}

TEST_F(Compiler, KernelThreadsHaveNoUserState) {
  kernel.put<std::uint32_t>(kernel.task + kernel.offset("task_struct", "flags"), kKernelThreadFlag);
  ASSERT_EQ(enter(entry_spec("vfs_read", {})), Outcome::sent);
  EXPECT_EQ(kernel.word(kContextField, kContextTask), kernel.task);
  EXPECT_EQ(kernel.word(kContextField, kContextUserIp), 0u);
  EXPECT_EQ(kernel.word(kContextField, kContextUserSp), 0u);
  EXPECT_EQ(kernel.word(kContextField, kContextSyscall), ~0ull);
}

TEST_F(Compiler, ArgumentsAreNarrowedToTheirType) {
  kernel.arguments({1, 2, 0x1'0000'0005, 0xdead'ffff, 0xffff'ffff'0000'03e8});
  EXPECT_EQ(value("count"), 0x1'0000'0005u);
  EXPECT_EQ(value("mode"), ~0ull) << "a signed short";
  EXPECT_EQ(value("owner.val"), 1000u) << "a struct in a register";
  EXPECT_EQ(value("owner"), 0xffff'ffff'0000'03e8u);
  EXPECT_EQ(value("arg1"), 2u);
  EXPECT_EQ(value("(u8)count"), 5u);
  EXPECT_EQ(value("(int)arg3"), ~0ull);
}

TEST_F(Compiler, FollowsPointersAndMembers) {
  const std::uint64_t inode = kernel.allocate(128);
  const std::uint64_t file = kernel.make_file(kernel.root_mount, kernel.root);
  kernel.set("file", file, "f_inode", inode);
  kernel.set("inode", inode, "i_ino", 4711);
  kernel.put<std::uint16_t>(inode, 0x81a4);
  kernel.put<std::uint32_t>(inode + 4, 1000);
  kernel.put<std::uint32_t>(file + kernel.offset("file", "f_numbers") + 8, 33);
  kernel.arguments({file, 0, 2});
  EXPECT_EQ(value("file->f_inode->i_ino"), 4711u);
  EXPECT_EQ(value("file->f_inode->i_mode"), 0xffff'ffff'ffff'81a4u) << "short is signed";
  EXPECT_EQ(value("(umode_t)file->f_inode->i_mode"), 0x81a4u);
  EXPECT_EQ(value("file->f_inode->i_uid.val"), 1000u);
  EXPECT_EQ(value("file->f_inode->i_uid"), 1000u) << "a struct of one word";
  EXPECT_EQ(value("file->f_path.dentry"), kernel.root);
  EXPECT_EQ(value("(*file).f_path.dentry->d_parent"), kernel.root);
  EXPECT_EQ(value("&file->f_path.dentry"), file + 24);
  EXPECT_EQ(value("file->f_numbers[2]"), 33u);
  EXPECT_EQ(value("file->f_numbers[count]"), 33u);
  EXPECT_EQ(value("*(file->f_numbers + 2)"), 33u) << "pointers count in elements";
  EXPECT_EQ(value("file->f_numbers"), file + 72);
  EXPECT_EQ(value("((struct inode *)arg0)->i_ino"), 0u);
  EXPECT_EQ(value("container_of(&file->f_path, struct file, f_path)->f_inode"), inode);
  EXPECT_EQ(value("container_of(file->f_path.mnt, struct mount, mnt)"), kernel.root_mount);
  EXPECT_EQ(value("current->tgid"), 100u);
  EXPECT_EQ(value("@init_task + 1"), 0xffffffff81000001u);
}

TEST_F(Compiler, KnowsTheOperandOfAnInstructionOnly) {
  HookSpec spec = entry_spec("wrmsr", {{.name = "value", .expression = "operand"}},
                             {"(unsigned int)arg3 == 0xc0000082"});
  EXPECT_THAT(error(spec), HasSubstr("operand"));
  spec.instruction = hypervisor::PrivilegedInstruction::write_msr;
  kernel.cpu.operand = 0xffff'ffff'8120'0040;
  kernel.cpu.gpr[1] = 0xdead'0000'c000'0082;  // the processor looks at the lower half
  ASSERT_EQ(enter(spec), Outcome::sent);
  EXPECT_EQ(kernel.word(kFirstCapture), 0xffff'ffff'8120'0040);
  kernel.cpu.gpr[1] = 0xc000'0083;
  EXPECT_EQ(enter(spec), Outcome::stopped);
}

TEST_F(Compiler, ReadsBitFields) {
  const std::uint64_t file = kernel.make_file(kernel.root_mount, kernel.root);
  // f_low = 5 (3 bits), f_signed = -3 (5 bits), f_wide = 0xabcde (20 bits from bit 12)
  kernel.put<std::uint64_t>(file + 64, 5u | (0b11101u << 3) | (0xabcdeull << 12));
  kernel.arguments({file});
  EXPECT_EQ(value("file->f_low"), 5u);
  EXPECT_EQ(value("file->f_signed"), static_cast<std::uint64_t>(-3));
  EXPECT_EQ(value("file->f_wide"), 0xabcdeu);
}

TEST_F(Compiler, Computes) {
  kernel.arguments({0, 0, 12, 0xffff});
  EXPECT_EQ(value("count + 3 - 1"), 14u);
  EXPECT_EQ(value("10 - count"), static_cast<std::uint64_t>(-2));
  EXPECT_EQ(value("count << 4 | 1"), 0xc1u);
  EXPECT_EQ(value("count >> 2 & 1"), 1u);
  EXPECT_EQ(value("-count"), static_cast<std::uint64_t>(-12));
  EXPECT_EQ(value("count + (count << (count - 8))"), 12u + (12u << 4));
  EXPECT_EQ(value("0x10 + 010"), 24u);
  EXPECT_EQ(value("!count"), 0u);
  EXPECT_EQ(value("count == 12"), 1u);
  EXPECT_EQ(value("ITER_UBUF"), 5u);
}

TEST_F(Compiler, ComparesByTheTypeOfTheLeftSide) {
  kernel.arguments({0, 0, ~0ull, 0xffff});
  EXPECT_TRUE(holds("count > 5")) << "unsigned";
  EXPECT_TRUE(holds("mode < 0")) << "signed";
  EXPECT_TRUE(holds("mode <= -1"));
  EXPECT_FALSE(holds("mode > -1"));
  EXPECT_TRUE(holds("mode >= -1"));
  EXPECT_FALSE(holds("0 < mode"));
  EXPECT_TRUE(holds("mode == -1"));
  EXPECT_TRUE(holds("mode != 1"));
  EXPECT_TRUE(holds("count & 0x40"));
  EXPECT_TRUE(holds("count & 0x40 == 0x40")) << "comparisons bind loosest";
  EXPECT_FALSE(holds("!count"));
  EXPECT_TRUE(holds("!!count"));
  EXPECT_TRUE(holds("!(mode > 0)"));
  EXPECT_TRUE(holds("count <= -1"));
}

TEST_F(Compiler, MatchesStrings) {
  kernel.arguments({0, kernel.user_text(16, "/etc/passwd")});
  EXPECT_TRUE(holds("str(buf) == \"/etc/passwd\""));
  EXPECT_FALSE(holds("str(buf) == \"/etc/pass\""));
  EXPECT_TRUE(holds("str(buf) != \"/etc\""));
  EXPECT_TRUE(holds("str(buf) ~ \"/etc/*\""));
  EXPECT_FALSE(holds("str(buf) !~ \"/etc/*\""));
  EXPECT_TRUE(holds("str(current->comm) == \"shell\""));
}

TEST_F(Compiler, TakesTheAlternativeThatCompiles) {
  kernel.arguments({7, 8});
  EXPECT_EQ(value("rd->old_dentry ?? old ?? arg1"), 8u);
  EXPECT_EQ(value("arg1 ?? arg0"), 8u);
  EXPECT_EQ(value("(ITER_NEW ?? 255) + 1"), 256u);
  EXPECT_TRUE(holds("iter->kind == 3 ?? arg0 == 7"));
  EXPECT_THAT(error("rd->x ?? nothing"), HasSubstr("`nothing`"));
}

TEST_F(Compiler, ErrorsNameColumnAndNeighbours) {
  EXPECT_THAT(error("file->f_inod"), HasSubstr("column 7"));
  EXPECT_THAT(error("file->f_inod"), HasSubstr("did you mean f_inode?"));
  EXPECT_THAT(error("coutn"), HasSubstr("did you mean count?"));
  EXPECT_THAT(error("zzzzzzzz"), HasSubstr("the arguments are file, buf, count, mode, owner"));
  EXPECT_THAT(error("count->x"), HasSubstr("is not a pointer"));
  EXPECT_THAT(error("file.f_pos"), HasSubstr("use ->"));
  EXPECT_THAT(error("file->f_path"), HasSubstr("not one word"));
  EXPECT_THAT(error("file->f_numbers[4]"), HasSubstr("4 elements"));
  EXPECT_THAT(error("(struct nope *)file"), HasSubstr("no type `struct nope`"));
  EXPECT_THAT(error("@init_tusk"), HasSubstr("no symbol `init_tusk`"));
  EXPECT_THAT(error("ret"), HasSubstr("at the return only"));
  EXPECT_THAT(error("&count"), HasSubstr("no address"));
  EXPECT_THAT(error("*arg0"), HasSubstr("not one word"));
  EXPECT_THAT(error("file->"), HasSubstr("expected a member name"));
  EXPECT_THAT(error("1+(1+(1+(1+(1+(1+(1+(1+(arg0+arg1))))))))"), HasSubstr("too many values"));
  EXPECT_THAT(error(std::string(40, '(')), HasSubstr("nested too deeply"));
}

TEST_F(Compiler, WordsInUnreadableMemoryAreLeftOut) {
  kernel.arguments({0xffff'0000'0000'0000, 0, 3});
  ASSERT_EQ(enter(entry_spec("vfs_read", {{.name = "a", .expression = "file->f_inode->i_ino"},
                                          {.name = "b", .expression = "count"}})),
            Outcome::sent);
  EXPECT_EQ(kernel.record.find(kFirstCapture), nullptr);
  EXPECT_EQ(kernel.word(kFirstCapture + 1), 3u);
}

TEST_F(Compiler, CapturesStringsAndBytes) {
  kernel.arguments({0, kernel.user_text(0x20, "hello world"), 5});
  ASSERT_EQ(
      enter(entry_spec(
          "vfs_read",
          {{.name = "s", .kind = CaptureKind::string, .expression = "buf", .max = 7},
           {.name = "b", .kind = CaptureKind::bytes, .expression = "buf", .length = "count"},
           {.name = "c", .kind = CaptureKind::bytes, .expression = "buf", .max = 3},
           {.name = "comm", .kind = CaptureKind::string, .expression = "current->comm"},
           {.name = "bad", .kind = CaptureKind::string, .expression = "arg0"},
           {.name = "i", .kind = CaptureKind::bytes, .expression = "current->mm", .max = 999}})),
      Outcome::sent);
  EXPECT_EQ(kernel.string(kFirstCapture), "hello w");
  EXPECT_TRUE(kernel.record.find(kFirstCapture)->truncated());
  EXPECT_EQ(kernel.string(kFirstCapture + 1), "hello");
  EXPECT_EQ(kernel.string(kFirstCapture + 2), "hel");
  EXPECT_EQ(kernel.string(kFirstCapture + 3), "shell");
  EXPECT_TRUE(kernel.record.find(kFirstCapture + 4)->faulted());
  EXPECT_EQ(kernel.string(kFirstCapture + 5).size(), 256u) << "the struct's size";
}

TEST_F(Compiler, ReturnSeesArgumentsAsTheyWere) {
  HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.exit = {.when = {"ret > 0", "count > 4"},
               .captures = {{.name = "ret", .expression = "ret"},
                            {.name = "data",
                             .kind = CaptureKind::bytes,
                             .expression = "buf",
                             .length = "ret"},
                            {.name = "mode", .expression = "mode"}},
               .enabled = true};
  kernel.arguments({0, kernel.user_text(0, "abcdef"), 6, 0xffff});
  EXPECT_EQ(enter(spec), Outcome::stopped) << "no record at entry";
  EXPECT_TRUE(kernel.last.return_armed);
  kernel.arguments({0, 0, 0, 0});
  ASSERT_EQ(leave(3), Outcome::sent);
  EXPECT_EQ(kernel.word(kFirstCapture), 3u);
  EXPECT_EQ(kernel.string(kFirstCapture + 1), "abc");
  EXPECT_EQ(kernel.word(kFirstCapture + 2), ~0ull);
  EXPECT_EQ(leave(static_cast<std::uint64_t>(-2)), Outcome::stopped) << "ret > 0 is signed";
}

TEST_F(Compiler, ReturnConditionsOnArgumentsAreCheckedAtEntry) {
  HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.exit = {.when = {"count > 4"}, .captures = {}, .enabled = true};
  kernel.arguments({0, 0, 4});
  enter(spec);
  EXPECT_FALSE(kernel.last.return_armed);
  kernel.arguments({0, 0, 5});
  enter(spec);
  EXPECT_TRUE(kernel.last.return_armed);

  spec.entry.enabled = true;
  kernel.arguments({0, 0, 4});
  EXPECT_EQ(enter(spec), Outcome::sent) << "the exit's condition does not filter the entry";
  EXPECT_EQ(leave(0), Outcome::stopped);
}

TEST_F(Compiler, EntryConditionsHoldForTheWholeCall) {
  HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.entry.when = {"count > 4"};
  spec.exit.enabled = true;
  kernel.arguments({0, 0, 4});
  enter(spec);
  EXPECT_FALSE(kernel.last.return_armed);
}

TEST_F(Compiler, AnonymousRecordsDoNotSayWhoRuns) {
  HookSpec spec = entry_spec("vfs_read", {{.name = "count", .expression = "count"}});
  spec.anonymous = true;
  kernel.arguments({0, 0, 4});
  ASSERT_EQ(enter(spec), Outcome::sent);
  EXPECT_EQ(kernel.record.find(kContextField), nullptr);
  EXPECT_EQ(kernel.word(kFirstCapture), 4u);
  spec.entry.captures[0].expression = "current->pid";
  EXPECT_THAT(error(spec), HasSubstr("anonymous"));
  spec.entry.captures[0] = {
      .name = "path", .kind = CaptureKind::path, .expression = "file->f_path"};
  EXPECT_THAT(error(spec), HasSubstr("anonymous"));
}

TEST_F(Compiler, EntryAndExitBothRecord) {
  HookSpec spec = entry_spec("vfs_read", {{.name = "count", .expression = "count"}});
  spec.exit = {.when = {}, .captures = {{.name = "ret", .expression = "ret"}}, .enabled = true};
  kernel.arguments({0, 0, 4});
  ASSERT_EQ(enter(spec), Outcome::sent);
  EXPECT_TRUE(kernel.last.return_armed);
  EXPECT_EQ(kernel.word(kFirstCapture), 4u);
  ASSERT_EQ(leave(2), Outcome::sent);
  EXPECT_EQ(kernel.record.find(kFirstCapture), nullptr);
  EXPECT_EQ(kernel.word(kFirstCapture + 1), 2u) << "exit ids follow on";
}

TEST_F(Compiler, ProgramsHoldNothingTheyDoNotNeed) {
  HookSpec spec;
  spec.functions = {"vfs_read"};
  spec.entry.when = {"count > 4"};
  spec.exit = {
      .when = {"ret > 0"}, .captures = {{.name = "count", .expression = "count"}}, .enabled = true};
  const auto compiled = kernel.compile(spec);
  ASSERT_TRUE(compiled.has_value());
  EXPECT_EQ(capture::disassemble(compiled->entry), R"(  load_cpu r0, rdx
  jump_le r0, 4, L5
  load_cpu r0, rdx
  save 0, r0
  arm_return
L5:
  stop
)");
  const std::string exit = capture::disassemble(*compiled->on_return);
  EXPECT_TRUE(exit.starts_with(R"(  load_cpu r0, rax
  move r1, 0
  jump_signed_ge r1, r0, L)"))
      << exit;
  EXPECT_THAT(exit, HasSubstr(R"(  emit_words 1, r10, 6
  load_saved r0, 0
  emit_words 16, r0, 1
  send
)"));
}

TEST_F(Compiler, FunctionsWithoutAPrototypeHaveSixWords) {
  HookSpec spec = entry_spec("unknown", {{.name = "a", .expression = "arg5"}});
  kernel.arguments({0, 1, 2, 3, 4, 5});
  ASSERT_EQ(enter(spec), Outcome::sent);
  EXPECT_EQ(kernel.word(kFirstCapture), 5u);
  spec.entry.captures[0].expression = "arg6";
  EXPECT_THAT(error(spec), HasSubstr("`arg6`"));
}

TEST_F(Compiler, RefusesWhatCannotBeKeptOrStored) {
  EXPECT_THAT(error(entry_spec(
                  "vfs_read",
                  {{.name = "x", .kind = CaptureKind::string, .expression = "buf", .max = 9000}})),
              HasSubstr("x: max must be"));
  EXPECT_THAT(error(entry_spec("vfs_read", std::vector<Capture>(300))), HasSubstr("too many"));
  EXPECT_THAT(error(entry_spec("vfs_read",
                               {{.name = "p", .kind = CaptureKind::path, .expression = "buf"}})),
              HasSubstr("no struct path"));
  HookSpec spec;
  spec.functions = {"wake_up_new_task"};
  spec.exit = {.when = {}, .captures = {{.name = "r", .expression = "ret"}}, .enabled = true};
  EXPECT_THAT(error(spec), HasSubstr("returns nothing"));
}

}  // namespace
}  // namespace glasshook::hook
