// The broad tier on code of programs: pages that lie somewhere, and run at any address.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "broad_tier.h"

namespace glasshook::hypervisor::kvm {
namespace {

constexpr Gpa kLibrary{0x20000}, kCopy{0x21000}, kStack{0x22000}, kCleanStack{0x23000};
constexpr std::uint64_t kUserText = 0x7f0000000000, kOtherText = 0x7f0000001000,
                        kCopiedText = 0x7f0000002000, kUserStack = 0x7f0000003000,
                        kUserCleanStack = 0x7f0000004000, kKernelsPage = 0x7f0000005000,
                        kKeyedStack = 0x7f0000006000;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kDirty = 1 << 6;

class ProgramPagesTest : public BroadTierTest {
 protected:
  ProgramPagesTest() {
    constexpr std::uint64_t kAll = kPresent | kWritable | kUser;
    put(kRoot.value + 254 * 8, 0x14000 | kAll);
    put(0x14000, 0x15000 | kAll);
    put(0x15000, 0x16000 | kAll);
    const std::uint64_t pages[] = {
        kLibrary.value | kPresent | kUser,
        kLibrary.value | kPresent | kUser,
        kCopy.value | kAll | kDirty,
        kStack.value | kAll | kDirty,
        kCleanStack.value | kAll,
        kStack.value | kPresent | kWritable | kDirty,
        kStack.value | kAll | kDirty | std::uint64_t{1} << 59,
    };
    put(0x13000 + 2 * 8, (kTextPage.value + 2 * kPageSize) | kPresent | kWritable | kDirty);
    for (std::size_t i = 0; i < std::size(pages); ++i) put(0x16000 + i * 8, pages[i]);
    put_code(kLibrary, 0x100, {0x55, 0x48, 0x89, 0xe5, 0x90, 0xc3});  // push rbp ... ret
    put_code(kLibrary, 0x200, {0xb8, 0x29, 0x00, 0x00, 0x00});        // mov eax, 41
    put_code(kLibrary, 0xfff, {0x55});
  }
  void put_code(Gpa page, std::uint64_t offset, std::initializer_list<int> bytes) {
    std::size_t i = 0;
    for (const int b : bytes) memory()[page.value + offset + i++] = static_cast<std::byte>(b);
  }
  int at(Gpa page, std::uint64_t offset) { return static_cast<int>(memory()[page.value + offset]); }
  Result<> hook_library(std::initializer_list<EntrySite> entries,
                        std::initializer_list<std::uint16_t> returns = {}) {
    PageSites sites;
    sites.entries = entries;
    sites.return_places = returns;
    if (returns.size() > 0) sites.returns = {{.begin = 0x100, .end = 0x200}};
    if (auto ok = probe_.place(kLibrary, sites); !ok) return ok;
    return probe_.commit();
  }
  static FakeKvm::Step program_exit(std::uint64_t pc, std::uint64_t rdi = 0,
                                    std::uint64_t rsp = kUserStack + 0x800) {
    return [=](kvm_run& run) {
      int3_exit(pc, rdi)(run);
      run.s.regs.regs.rsp = rsp;
      return 0;
    };
  }
};

TEST_F(ProgramPagesTest, APageIsHookedWhereverItRuns) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {2}}}));
  EXPECT_EQ(at(kLibrary, 0x100), 0xcc);
  kvm_.script[0] = {program_exit(kUserText + 0x100, 5),
                    [&](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kUserText + 0x101);
                      EXPECT_EQ(run.s.regs.regs.rsp, kUserStack + 0x7f8);
                      return program_exit(kOtherText + 0x100, 6)(run);
                    },
                    io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), (std::vector<std::uint64_t>{5, 6}));
  probe_.detach();
  EXPECT_EQ(at(kLibrary, 0x100), 0x55);
}

TEST_F(ProgramPagesTest, ACallIsJoinedWithItsReturn) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {1}}}, {0x105}));
  put(kStack.value + 0x800, 0x401234);
  kvm_.script[0] = {program_exit(kUserText + 0x100), program_exit(kUserText + 0x105),
                    [](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, 0x401234u);
                      EXPECT_EQ(run.s.regs.regs.rsp, kUserStack + 0x808);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(region_.counters(0).hooks[1].hits, 1u);
  EXPECT_EQ(region_.counters(0).hooks[1].returned, 1u);
}

TEST_F(ProgramPagesTest, WhatTheKernelKnowsOfAProgramIsFound) {
  attach_broad();
  capture::Builder builder;
  builder.load_cpu(capture::Reg{0}, capture::CpuRegister::kernel_gs)
      .emit_words(16, capture::Reg{0}, 1)
      .send();
  ASSERT_TRUE(probe_.load({.id = {3}, .entry = *builder.build(), .on_return = {}}));
  ASSERT_TRUE(hook_library({{0x200, {3}}}));
  kvm_.msrs[0xc0000102] = 0xffff888000001000;
  kvm_.script[0] = {program_exit(kUserText + 0x200), io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{0xffff888000001000});
}

TEST_F(ProgramPagesTest, AProgramGetsNothingThatItMayNotTouch) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {2}}}));
  const std::uint64_t stacks[] = {
      kUserCleanStack + 0x800,  // the page tables would not know that it was written to
      kUserText + 0x800,        // read-only
      kKernelsPage + 0x800,     // the kernel's, at a program's address
      kStackPage + 0x800,       // the kernel's, at a kernel's address
      kUserStack + 0x4,         // across two pages
      kKeyedStack + 0x800,      // under a protection key
      0x7f0000100000,           // nowhere
  };
  std::uint64_t lifted = 0;
  for (const std::uint64_t stack : stacks) {
    kvm_.script[0] = {program_exit(kUserText + 0x100, 0, stack), [&](kvm_run& run) {
                        EXPECT_EQ(run.s.regs.regs.rip, kUserText + 0x100) << stack;
                        EXPECT_EQ(run.s.regs.regs.rsp, stack);
                        EXPECT_EQ(at(kLibrary, 0x100), 0x55);
                        return io_exit(run);
                      }};
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(region_.counters(0).probe.lifted, ++lifted);
    probe_.tend();
    EXPECT_EQ(at(kLibrary, 0x100), 0xcc);
  }
}

TEST_F(ProgramPagesTest, A32BitProgramRunsItsCodeItself) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x200, {2}}}));
  kvm_.script[0] = {[](kvm_run& run) {
                      program_exit(kUserText + 0x200)(run);
                      run.s.regs.sregs.cs.l = 0;
                      return 0;
                    },
                    [&](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kUserText + 0x200);
                      EXPECT_EQ(at(kLibrary, 0x200), 0xb8);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  // It called something else.
  EXPECT_EQ(region_.counters(0).hooks[2].hits, 0u);
  EXPECT_TRUE(records(0).empty());
}

TEST_F(ProgramPagesTest, ACopyOfAPageIsKnown) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {2}}, {0x200, {2}}}, {0x105}));
  std::memcpy(memory() + kCopy.value, memory() + kLibrary.value, kPageSize);
  put_code(kCopy, 0xa00, {0x90});  // what the program changed
  kvm_.script[0] = {program_exit(kCopiedText + 0x100, 7),
                    [&](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kCopiedText + 0x101);
                      return program_exit(kCopiedText + 0x100, 8, kUserCleanStack + 0x800)(run);
                    },
                    [&](kvm_run& run) {
                      // The processor has to do it: in the copy, the instruction is back.
                      EXPECT_EQ(run.s.regs.regs.rip, kCopiedText + 0x100);
                      EXPECT_EQ(at(kCopy, 0x100), 0x55);
                      EXPECT_EQ(at(kLibrary, 0x100), 0xcc);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), (std::vector<std::uint64_t>{7, 8}));
}

TEST_F(ProgramPagesTest, ABreakpointOfAProgramsIsItsOwn) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {2}}}));
  put_code(kCopy, 0x100, {0xcc, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10});  // in other code
  put_code(kLibrary, 0x400, {0xcc});
  for (const std::uint64_t pc : {kCopiedText + 0x100, kUserText + 0x400}) {
    kvm_.script[0] = {program_exit(pc), [this](kvm_run& run) {
                        EXPECT_EQ(kvm_.debug[0].control, kInstructions | KVM_GUESTDBG_INJECT_BP);
                        EXPECT_EQ(run.kvm_dirty_regs, 0u);
                        return io_exit(run);
                      }};
    EXPECT_EQ(run(), 0);
  }
  EXPECT_TRUE(records(0).empty());
}

TEST_F(ProgramPagesTest, APageThatBecameSomethingElseIsLetBe) {
  attach_broad();
  ASSERT_TRUE(hook_library({{0x100, {2}}, {0xfff, {2}}}));
  EXPECT_EQ(at(kLibrary, 0xfff), 0xcc);
  std::memset(memory() + kLibrary.value, 0x11, kPageSize);
  for (int i = 0; i < 3; ++i) probe_.tend();
  probe_.detach();
  EXPECT_EQ(at(kLibrary, 0x100), 0x11);
  EXPECT_EQ(at(kLibrary, 0xfff), 0x11);
}

TEST_F(ProgramPagesTest, AnInstructionAcrossTwoPagesIsRefused) {
  attach_broad();
  put_code(kLibrary, 0xffe, {0xb8, 0x01});  // mov eax, ...
  const auto refused = hook_library({{0xffe, {2}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
}

TEST_F(ProgramPagesTest, WhoReadsTheFileFindsTheFile) {
  attach_broad();
  HookPrograms reads = argument_hook(3);
  reads.uncovers = true;
  ASSERT_TRUE(probe_.load(reads));
  ASSERT_TRUE(hook_library({{0x100, {2}}}));
  ASSERT_TRUE(hook({{0x00, {3}}, {0x40, {2}}}));
  kvm_.script[0] = {int3_exit(kText + 9), [&](kvm_run& run) {
                      // Before the guest goes on.
                      EXPECT_EQ(at(kLibrary, 0x100), 0x55);
                      EXPECT_EQ(byte(0x40), 0xcc);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  probe_.tend();
  EXPECT_EQ(at(kLibrary, 0x100), 0x55);  // it is not through yet
  EXPECT_EQ(region_.counters(0).probe.lifted, 1u);
  std::this_thread::sleep_for(CodePatches::kUncovered + std::chrono::milliseconds(5));
  probe_.tend();
  EXPECT_EQ(at(kLibrary, 0x100), 0xcc);
}

TEST_F(ProgramPagesTest, HardwareBreakpointsDoNotDoThis) {
  attach();
  ASSERT_TRUE(probe_.load(argument_hook(1)));
  PageSites sites;
  sites.entries = {{0x100, {1}}};
  const auto refused = probe_.place(kLibrary, sites);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_FALSE(welcome_.capabilities.user_places);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
