// The broad tier on the kernel's code.
#include "broad_tier.h"

#include <gtest/gtest.h>

#include <vector>

namespace glasshook::hypervisor::kvm {
namespace {

TEST_F(BroadTierTest, TellsWhatItCanDo) {
  attach_broad();
  EXPECT_EQ(welcome_.capabilities.backend, "kvm-broad");
  EXPECT_EQ(welcome_.capabilities.max_sites, 0u);
  EXPECT_TRUE(welcome_.capabilities.returns);
  EXPECT_FALSE(welcome_.capabilities.hidden_from_reads);
  EXPECT_FALSE(welcome_.capabilities.user_pages);
  EXPECT_TRUE(welcome_.capabilities.user_places);
  EXPECT_FALSE(welcome_.capabilities.write_protected);
}

TEST_F(BroadTierTest, TheBreakpointGoesPastWhatTheKernelPatches) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}, {0x40, {2}}}));
  EXPECT_EQ(byte(0x00), 0xf3);
  EXPECT_EQ(byte(0x04), 0x0f);
  EXPECT_EQ(byte(0x09), 0xcc);  // the push
  EXPECT_EQ(byte(0x40), 0xcc);  // nothing better there
}

TEST_F(BroadTierTest, AHitIsCapturedAndItsInstructionDone) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_.script[0] = {[](kvm_run& run) {
                      int3_exit(kText + 9, 42)(run);
                      run.s.regs.regs.r15 = 0x1515;
                      return 0;
                    },
                    [](kvm_run& run) {
                      EXPECT_EQ(run.kvm_dirty_regs, std::uint64_t{KVM_SYNC_X86_REGS});
                      EXPECT_EQ(run.s.regs.regs.rip, kText + 11);
                      EXPECT_EQ(run.s.regs.regs.rsp, kStackPage + 0x7f8);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_IO});
  EXPECT_EQ(kvm_.debug[0].control, kInstructions);
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{42});
  std::uint64_t pushed = 0;
  std::memcpy(&pushed, memory() + kTextPage.value + 2 * kPageSize + 0x7f8, sizeof pushed);
  EXPECT_EQ(pushed, 0x1515u);
}

TEST_F(BroadTierTest, AReturnEndsTheCall) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}, {0x61}));
  EXPECT_EQ(byte(0x61), 0xcc);
  put(kTextPage.value + 2 * kPageSize + 0x800, kText + 0x500);
  kvm_.script[0] = {int3_exit(kText + 9), int3_exit(kText + 0x61), [](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kText + 0x500);
                      EXPECT_EQ(run.s.regs.regs.rsp, kStackPage + 0x808);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(region_.counters(0).hooks[1].hits, 1u);
  EXPECT_EQ(region_.counters(0).hooks[1].returned, 1u);
}

TEST_F(BroadTierTest, WhatCannotBeStoodForIsRefusedWithItsBytes) {
  attach_broad();
  const auto refused = hook({{0x80, {1}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_NE(refused.error().message.find("0f a2"), std::string::npos);
  EXPECT_FALSE(hook({{0xa0, {1}}}));  // the guest's own breakpoint
  EXPECT_EQ(byte(0x80), 0x0f);
}

TEST_F(BroadTierTest, ABreakpointOfTheGuestsIsGivenBack) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_.script[0] = {int3_exit(kText + 0xa0), [this](kvm_run& run) {
                      EXPECT_EQ(kvm_.debug[0].control, kInstructions | KVM_GUESTDBG_INJECT_BP);
                      EXPECT_EQ(run.kvm_dirty_regs, 0u);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_IO});
  EXPECT_TRUE(records(0).empty());
}

TEST_F(BroadTierTest, ADebuggerOfQemusIsAskedFirst) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_guest_debug theirs{};
  theirs.control = kInstructions;
  EXPECT_EQ(ask_debug(theirs), 0);
  kvm_.script[0] = {int3_exit(kText + 9, 5), int3_exit(kText + 0xa0)};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_DEBUG});
  EXPECT_EQ(kvm_.runs[0]->debug.arch.pc, kText + 0xa0);
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{5});
}

TEST_F(BroadTierTest, AGuestOfTheGuestsHasItsOwnBreakpoints) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_.script[0] = {[](kvm_run& run) {
                      int3_exit(kText + 9)(run);
                      run.flags = 1 << 2;
                      return 0;
                    },
                    [this](kvm_run& run) {
                      EXPECT_TRUE(kvm_.debug[0].control & KVM_GUESTDBG_INJECT_BP);
                      run.flags = 0;
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_TRUE(records(0).empty());
}

TEST_F(BroadTierTest, ABreakpointThatIsGoneIsNobodys) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_.script[0] = {[this](kvm_run& run) {
                      int3_exit(kText + 9)(run);
                      probe_.detach();  // while the vCPU is on its way here
                      return 0;
                    },
                    [](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kText + 9);  // the push itself runs
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].control, 0u);
  EXPECT_EQ(byte(0x09), 0x41);
}

TEST_F(BroadTierTest, NothingIsWrittenThatAVcpuWouldNotExitAt) {
  attach_broad();
  kvm_.refuse_debug = true;
  kvm_.script[0] = {[this](kvm_run&) {
    EXPECT_EQ(byte(0x09), 0x41);
    errno = EINTR;
    return -1;
  }};
  ASSERT_TRUE(hook({{0x00, {1}}}));  // no vCPU runs: nobody has refused yet
  EXPECT_EQ(byte(0x09), 0xcc);
  EXPECT_EQ(run(), -1);
  const auto again = probe_.commit();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::unsupported);
  EXPECT_EQ(byte(0x09), 0x41);
}

TEST_F(BroadTierTest, AnUnloadedHookLeavesNothing) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}, {0x40, {2}}}));
  ASSERT_TRUE(probe_.unload({1}));
  ASSERT_TRUE(probe_.commit());
  EXPECT_EQ(byte(0x09), 0x41);
  EXPECT_EQ(byte(0x40), 0xcc);
  probe_.detach();
  EXPECT_EQ(byte(0x40), 0x0f);
}

TEST_F(BroadTierTest, WhatTheKernelPatchesIsHookedAnew) {
  attach_broad();
  ASSERT_TRUE(hook({{0x40, {2}}}));
  code(0x40, {0xe8, 0x10, 0x00, 0x00, 0x00});  // its tracer's call
  probe_.tend();
  EXPECT_EQ(byte(0x40), 0xcc);
  EXPECT_EQ(region_.counters(0).probe.overwritten, 1u);
  kvm_.script[0] = {int3_exit(kText + 0x40, 3), [](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kText + 0x55);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{3});
  probe_.detach();
  EXPECT_EQ(byte(0x40), 0xe8);
}

TEST_F(BroadTierTest, WhatIsOtherCodeByNowIsLetBe) {
  attach_broad();
  ASSERT_TRUE(hook({{0x40, {2}}, {0x00, {1}}}));
  // Something no breakpoint can stand for; and another function altogether.
  code(0x40, {0x0f, 0xa2});
  code(0x00, {0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
              0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55});
  for (int i = 0; i < 3; ++i) probe_.tend();
  EXPECT_EQ(byte(0x40), 0x0f);
  EXPECT_EQ(byte(0x09), 0x55);
  EXPECT_EQ(region_.counters(0).probe.overwritten, 2u);
  probe_.detach();
  EXPECT_EQ(byte(0x40), 0x0f);
  EXPECT_EQ(byte(0x09), 0x55);
}

TEST_F(BroadTierTest, AnImageOfTheGuestIsClean) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_userspace_memory_region ram{};
  ram.memory_size = kRamSize;
  ram.userspace_addr = reinterpret_cast<std::uint64_t>(memory());
  ram.flags = KVM_MEM_LOG_DIRTY_PAGES;
  kvm_.on_memory = [this] { EXPECT_EQ(byte(0x09), 0x41); };  // before KVM begins to note
  EXPECT_EQ(probe_.ioctl(kVmFd, KVM_SET_USER_MEMORY_REGION, &ram), 0);
  probe_.tend();
  EXPECT_EQ(byte(0x09), 0x41);
  EXPECT_EQ(region_.counters(0).probe.lifted, 1u);
  ram.flags = 0;
  kvm_.on_memory = {};
  EXPECT_EQ(probe_.ioctl(kVmFd, KVM_SET_USER_MEMORY_REGION, &ram), 0);
  probe_.tend();
  EXPECT_EQ(byte(0x09), 0xcc);
}

TEST_F(BroadTierTest, TheMonitorIsToldWhatWasThere) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  const auto told = [&] {
    for (std::uint32_t n = 0; n < probe::kMaxPatches; ++n)
      if (region_.patch(n) != 0) return region_.patch(n).load();
    return std::uint64_t{0};
  };
  EXPECT_EQ(told(), probe::patch_word(Gpa{kTextPage.value + 9}, std::byte{0x41}));
  probe_.detach();
  EXPECT_EQ(told(), 0u);
}

TEST_F(BroadTierTest, AStackThatIsNotThereIsTheProcessorsMatter) {
  attach_broad();
  ASSERT_TRUE(hook({{0x00, {1}}}));
  kvm_.script[0] = {[](kvm_run& run) {
                      int3_exit(kText + 9)(run);
                      run.s.regs.regs.rsp = 0xffffc90000000000;
                      return 0;
                    },
                    [this](kvm_run& run) {
                      EXPECT_EQ(run.s.regs.regs.rip, kText + 9);
                      EXPECT_EQ(byte(0x09), 0x41);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  probe_.tend();
  EXPECT_EQ(byte(0x09), 0xcc);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
