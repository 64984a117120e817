#include "hypervisor/kvm/breakpoints.h"

#include <gtest/gtest.h>

namespace glasshook::hypervisor::kvm {
namespace {

constexpr std::uint64_t kOpen = 0xffffffff81234560, kExec = 0xffffffff81300000;
constexpr std::uint32_t kHardware = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;

/// As QEMU's debugger asks for a write watchpoint of 8 bytes in register n.
kvm_guest_debug watchpoint(std::size_t n, std::uint64_t address) {
  kvm_guest_debug debug{};
  debug.control = kHardware;
  debug.arch.debugreg[n] = address;
  debug.arch.debugreg[7] = 0x600 | std::uint64_t{2} << 2 * n | std::uint64_t{0x9} << (16 + 4 * n);
  return debug;
}

kvm_debug_exit_arch exit_with(std::uint64_t dr6, std::uint64_t pc) {
  kvm_debug_exit_arch exit{};
  exit.exception = 1;
  exit.dr6 = kDr6Fixed | dr6;
  exit.pc = pc;
  return exit;
}

TEST(Merge, WithoutAddressesQemusRequestIsLeftAsItIs) {
  const auto theirs = watchpoint(1, 0x1000);
  const GuestDebug merged = merge(theirs, {});
  EXPECT_EQ(merged.request.control, theirs.control);
  EXPECT_EQ(merged.request.arch.debugreg[7], theirs.arch.debugreg[7]);
  EXPECT_EQ(merged.armed.ours, 0);
}

TEST(Merge, AddressesBecomeExecutionBreakpoints) {
  const std::array addresses{kOpen, kExec};
  const GuestDebug merged = merge({}, addresses);
  EXPECT_EQ(merged.request.control, kHardware);
  EXPECT_EQ(merged.request.arch.debugreg[0], kOpen);
  EXPECT_EQ(merged.request.arch.debugreg[1], kExec);
  // Both enabled globally; condition and length 0: execution.
  EXPECT_EQ(merged.request.arch.debugreg[7], 0x600u | 0xa);
  EXPECT_EQ(merged.armed.ours, 0b11);
  EXPECT_EQ(merged.left_out, 0u);
}

TEST(Merge, QemusBreakpointsComeFirst) {
  const std::array addresses{kOpen, kExec};
  const auto theirs = watchpoint(1, 0x1000);
  const GuestDebug merged = merge(theirs, addresses);
  EXPECT_EQ(merged.request.arch.debugreg[0], kOpen);
  EXPECT_EQ(merged.request.arch.debugreg[1], 0x1000u);
  EXPECT_EQ(merged.request.arch.debugreg[2], kExec);
  EXPECT_EQ(merged.request.arch.debugreg[7] >> 20 & 0xf, 0x9u);
  EXPECT_EQ(merged.request.arch.debugreg[7] >> 24 & 0xf, 0u);
  EXPECT_EQ(merged.armed.ours, 0b101);
}

TEST(Merge, RegistersOfADebuggerThatUsesNoneAreNotKept) {
  auto theirs = watchpoint(0, 0x1000);
  theirs.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
  const GuestDebug merged = merge(theirs, std::array{kOpen});
  EXPECT_EQ(merged.request.control, kHardware | KVM_GUESTDBG_SINGLESTEP);
  EXPECT_EQ(merged.request.arch.debugreg[0], kOpen);
  EXPECT_EQ(merged.request.arch.debugreg[7], 0x600u | 0x2);
}

TEST(Merge, WhatHasNoRoomIsCounted) {
  const std::array<std::uint64_t, 5> addresses{1, 2, 3, 4, 5};
  EXPECT_EQ(merge({}, addresses).left_out, 1u);
  EXPECT_EQ(merge(watchpoint(3, 0x1000), addresses).left_out, 2u);
}

TEST(TakeApart, OursIsOursAlone) {
  const GuestDebug merged = merge({}, std::array{kOpen, kExec});
  const DebugExit exit = take_apart(exit_with(1 << 1, kExec), merged.armed);
  EXPECT_EQ(exit.hit, kExec);
  EXPECT_TRUE(exit.ours);
  EXPECT_FALSE(exit.for_qemu);
}

TEST(TakeApart, WhatTheGuestDidToItselfIsForQemu) {
  const GuestDebug merged = merge({}, std::array{kOpen});
  const DebugExit step = take_apart(exit_with(kDr6SingleStep, 0x401000), merged.armed);
  EXPECT_FALSE(step.hit);
  EXPECT_FALSE(step.ours);
  EXPECT_TRUE(step.for_qemu);
  kvm_debug_exit_arch int3{};
  int3.exception = 3;
  int3.pc = kOpen;
  EXPECT_TRUE(take_apart(int3, merged.armed).for_qemu);
  // An instruction that raises #DB without any bit (icebp).
  EXPECT_TRUE(take_apart(exit_with(0, 0x401000), merged.armed).for_qemu);
}

TEST(TakeApart, TwoCausesAreBothTold) {
  const GuestDebug merged = merge(watchpoint(0, 0x1000), std::array{kOpen});
  const DebugExit exit = take_apart(exit_with(kDr6SingleStep | 0b11, kOpen), merged.armed);
  EXPECT_EQ(exit.hit, kOpen);
  EXPECT_TRUE(exit.for_qemu);
  EXPECT_EQ(exit.dr6, kDr6Fixed | kDr6SingleStep | 1);
}

TEST(TakeApart, ABitWithoutItsAddressIsNoHit) {
  const GuestDebug merged = merge({}, std::array{kOpen});
  const DebugExit exit = take_apart(exit_with(1, kExec), merged.armed);
  EXPECT_FALSE(exit.hit);
  EXPECT_TRUE(exit.ours);
  // A register that is not ours says nothing about us.
  EXPECT_FALSE(take_apart(exit_with(1 << 2, kOpen), merged.armed).ours);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
