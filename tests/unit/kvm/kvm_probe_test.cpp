// The probe against a KVM that follows a script.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "fake_kvm.h"

namespace glasshook::hypervisor::kvm {
namespace {

using capture::CpuRegister;
using KvmProbeTest = KvmProbeFixture;

TEST_F(KvmProbeTest, UntilAMonitorComesNothingIsArmed) {
  kvm_.script[0] = {io_exit, io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.arms, 0);
  EXPECT_EQ(kvm_.runs[0]->kvm_valid_regs, 0u);
}

TEST_F(KvmProbeTest, TellsRamAndWhatItCanDo) {
  attach();
  ASSERT_EQ(welcome_.ram.size(), 1u);
  EXPECT_EQ(welcome_.ram[0].size, kRamSize);
  EXPECT_EQ(welcome_.capabilities.max_sites, 4u);
  EXPECT_FALSE(welcome_.capabilities.returns);
  EXPECT_EQ(region_.vcpus(), 2u);
}

TEST_F(KvmProbeTest, AHitIsCapturedAndQemuDoesNotHearOfIt) {
  attach();
  ASSERT_TRUE(place(2));
  kvm_.script[0] = {debug_exit(1 << 1, kText + 0x10, 42), [](kvm_run& run) {
                      // The guest goes on past the breakpoint.
                      EXPECT_EQ(run.kvm_dirty_regs, std::uint64_t{KVM_SYNC_X86_REGS});
                      EXPECT_TRUE(run.s.regs.regs.rflags & kResumeFlag);
                      return io_exit(run);
                    }};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_IO});
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{42});
  EXPECT_EQ(hits(0, 2), 1u);
  EXPECT_EQ(hits(0, 1), 0u);
}

TEST_F(KvmProbeTest, AHitHasTheProcessorsState) {
  attach();
  capture::Builder entry(capture::ProgramRole::entry);
  const std::array wanted{CpuRegister::rsp,       CpuRegister::r15,      CpuRegister::rip,
                          CpuRegister::cr3,       CpuRegister::fs_base,  CpuRegister::gs_base,
                          CpuRegister::kernel_gs, CpuRegister::user_mode};
  for (std::uint8_t i = 0; i < wanted.size(); ++i) {
    entry.load_cpu(capture::Reg{0}, wanted[i]);
    entry.emit_words(static_cast<std::uint16_t>(16 + i), capture::Reg{0}, 1);
  }
  entry.send();
  ASSERT_TRUE(probe_.load({.id = {1}, .entry = *entry.build(), .on_return = {}}));
  loaded_ = 1;
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {[](kvm_run& run) {
                      debug_exit(1, kText)(run);
                      run.s.regs.regs.rsp = 0xffffc90000001000;
                      run.s.regs.regs.r15 = 15;
                      run.s.regs.sregs.cr3 = 0x8000'0000'0001'2805;
                      run.s.regs.sregs.fs.base = 0x7f00;
                      run.s.regs.sregs.gs.base = 0xffff888000010000;
                      return 0;
                    },
                    io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(all_words(0),
            (std::vector<std::uint64_t>{0xffffc90000001000, 15, kText, 0x12000, 0x7f00,
                                        0xffff888000010000, 0xffff888000010000, 0}));
}

constexpr std::uint64_t kGeneral = KVM_SYNC_X86_REGS;
constexpr std::uint64_t kAll = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;

/// A hook that sends one register.
HookPrograms register_hook(std::uint32_t id, CpuRegister wanted) {
  capture::Builder entry(capture::ProgramRole::entry);
  entry.load_cpu(capture::Reg{0}, wanted).emit_words(16, capture::Reg{0}, 1).send();
  return {.id = {id}, .entry = *entry.build(), .on_return = {}};
}

TEST_F(KvmProbeTest, SpecialRegistersComeWithTheExitWhenTheLastHitLookedAtThem) {
  attach();
  ASSERT_TRUE(probe_.load(register_hook(1, CpuRegister::kernel_gs)));
  ASSERT_TRUE(probe_.load(register_hook(2, CpuRegister::fs_base)));
  loaded_ = 2;
  ASSERT_TRUE(place(2));
  const auto exit = [&](int hook, std::uint64_t valid, std::uint64_t gs, std::uint64_t fs) {
    return [=](kvm_run& run) {
      EXPECT_EQ(run.kvm_valid_regs, valid);
      debug_exit(1u << hook, kText + 0x10u * static_cast<unsigned>(hook))(run);
      run.s.regs.sregs.gs.base = gs;
      run.s.regs.sregs.fs.base = fs;
      return 0;
    };
  };
  kvm_.special_registers.fs.base = 0x5f5f;
  kvm_.script[0] = {exit(0, kAll, 0x1111, 0), exit(0, kGeneral, 0xbad, 0),
                    exit(1, kGeneral, 0xbad, 0xbad), exit(1, kAll, 0x1111, 0x7f00), io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), (std::vector<std::uint64_t>{0x1111, 0x1111, 0x5f5f, 0x7f00}));
  EXPECT_EQ(kvm_.special_asked, 1);
}

TEST_F(KvmProbeTest, AfterAChangeOfHooksTheKernelsGsBaseIsLearnedAnew) {
  attach();
  ASSERT_TRUE(probe_.load(register_hook(1, CpuRegister::kernel_gs)));
  loaded_ = 1;
  for (const std::uint64_t gs : {0x1111u, 0x2222u}) {
    ASSERT_TRUE(place(1));
    kvm_.add_step(0, [=](kvm_run& run) {
      debug_exit(1, kText)(run);
      run.s.regs.sregs.gs.base = gs;
      return 0;
    });
    kvm_.add_step(0, io_exit);
    EXPECT_EQ(run(), 0);
  }
  EXPECT_EQ(records(0), (std::vector<std::uint64_t>{0x1111, 0x2222}));
}

TEST_F(KvmProbeTest, EveryVcpuIsArmedBeforeItRuns) {
  add_vcpu();
  attach();
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {io_exit};
  kvm_.script[1] = {debug_exit(1, kText, 7), io_exit};
  EXPECT_EQ(run(0), 0);
  EXPECT_EQ(run(1), 0);
  for (const kvm_guest_debug& debug : kvm_.debug) {
    EXPECT_EQ(debug.arch.debugreg[0], kText);
    EXPECT_EQ(debug.arch.debugreg[7] & 3, 2u);
  }
  EXPECT_EQ(records(1), std::vector<std::uint64_t>{7});
  EXPECT_TRUE(records(0).empty());
}

TEST_F(KvmProbeTest, ArmingIsNotRepeated) {
  attach();
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {io_exit, io_exit, debug_exit(1, kText), io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.arms, 1);
}

TEST_F(KvmProbeTest, AChangeOfHooksRearms) {
  attach();
  ASSERT_TRUE(place(2));
  kvm_.script[0] = {io_exit, io_exit};
  EXPECT_EQ(run(), 0);
  ASSERT_TRUE(place(1));
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.arms, 2);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[7] & 0xff, 2u);
  // An unloaded hook gives its register back.
  ASSERT_TRUE(probe_.unload({1}));
  ASSERT_TRUE(probe_.commit());
  kvm_.script[0] = {io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].control, 0u);
}

TEST_F(KvmProbeTest, ManyChangesWhileTheGuestRunsLeaveTheLast) {
  add_vcpu();
  attach();
  ASSERT_TRUE(place(4));
  std::atomic<bool> stop{false};
  std::vector<std::thread> vcpus;
  for (int v = 0; v < 2; ++v)
    vcpus.emplace_back([&, v] {
      for (int runs = 0; !stop; ++runs) {
        if (runs < 100) kvm_.add_step(v, debug_exit(1, kText));  // the ring holds so many
        kvm_.add_step(v, io_exit);
        EXPECT_EQ(run(v), 0);
      }
    });
  for (std::size_t i = 0; i < 200; ++i) EXPECT_TRUE(place(1 + i % 4));
  EXPECT_TRUE(place(2));
  stop = true;
  for (std::thread& vcpu : vcpus) vcpu.join();
  for (int v = 0; v < 2; ++v) {
    kvm_.add_step(v, io_exit);
    EXPECT_EQ(run(v), 0);
    EXPECT_EQ(kvm_.debug[static_cast<std::size_t>(v)].arch.debugreg[7] & 0xff, 0xau);
  }
}

TEST_F(KvmProbeTest, WhenTheMonitorLeavesEverythingIsDisarmed) {
  attach();
  ASSERT_TRUE(place(2));
  kvm_.script[0] = {debug_exit(1, kText), io_exit, io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(hits(0, 1), 1u);
  probe_.detach();
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].control, 0u);
  EXPECT_EQ(kvm_.runs[0]->kvm_valid_regs, 0u);
  // And the next one can come, and counts from zero.
  attach();
  loaded_ = 0;
  EXPECT_TRUE(place(1));
  EXPECT_EQ(hits(0, 1), 0u);
}

TEST_F(KvmProbeTest, ARunningVcpuIsKickedAndTellsWhenItIsArmed) {
  attach();
  std::thread monitor;
  kvm_.script[0] = {[&](kvm_run&) {
                      // In the guest: the commit has to get it out.
                      monitor = std::thread([&] { EXPECT_TRUE(place(1)); });
                      kvm_.kicked.acquire();
                      EXPECT_LT(region_.header().commits_done, region_.header().commits_asked);
                      errno = EINTR;
                      return -1;
                    },
                    io_exit};
  EXPECT_EQ(run(), -1);
  EXPECT_EQ(errno, EINTR);
  monitor.join();
  EXPECT_EQ(region_.header().commits_done, region_.header().commits_asked);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[0], kText);
}

TEST_F(KvmProbeTest, WhatIsNotOursGoesToQemu) {
  attach();
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {debug_exit(kDr6SingleStep, 0x401000)};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_DEBUG});
  EXPECT_EQ(kvm_.runs[0]->debug.arch.dr6, kDr6Fixed | kDr6SingleStep);
  EXPECT_EQ(kvm_.runs[0]->kvm_dirty_regs, 0u);
  EXPECT_TRUE(records(0).empty());
}

TEST_F(KvmProbeTest, AHitWithAnotherCauseIsCapturedAndPassedOn) {
  attach();
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {debug_exit(kDr6SingleStep | 1, kText, 9)};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.runs[0]->debug.arch.dr6, kDr6Fixed | kDr6SingleStep);
  EXPECT_EQ(records(0), std::vector<std::uint64_t>{9});
  // QEMU reads the registers and writes them back: none of ours may come after.
  EXPECT_EQ(kvm_.runs[0]->kvm_dirty_regs, 0u);
  ASSERT_TRUE(kvm_.set_regs);
  EXPECT_TRUE(kvm_.set_regs->rflags & kResumeFlag);
}

TEST_F(KvmProbeTest, AFifthPlaceIsRefusedAndTheOthersStay) {
  attach();
  ASSERT_TRUE(place(4));
  const auto fifth = place(5);
  ASSERT_FALSE(fifth);
  EXPECT_EQ(fifth.error().code, ErrorCode::limit);
  kvm_.script[0] = {io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[7] & 0xff, 0xaau);
}

TEST_F(KvmProbeTest, ADebuggerOfQemusKeepsItsBreakpoints) {
  kvm_guest_debug theirs{};
  theirs.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  theirs.arch.debugreg[0] = 0x1000;
  theirs.arch.debugreg[7] = 0x602;
  EXPECT_EQ(ask_debug(theirs), 0);
  attach();
  ASSERT_FALSE(place(4));
  ASSERT_TRUE(place(3));
  kvm_.script[0] = {debug_exit(1, 0x1000)};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[0], 0x1000u);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[1], kText);
  EXPECT_EQ(kvm_.runs[0]->exit_reason, std::uint32_t{KVM_EXIT_DEBUG});
  EXPECT_EQ(kvm_.runs[0]->debug.arch.dr6, kDr6Fixed | 1);
}

TEST_F(KvmProbeTest, ADebuggerThatFindsNoRoomIsTold) {
  attach();
  ASSERT_TRUE(place(4));
  kvm_guest_debug theirs{};
  theirs.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  theirs.arch.debugreg[7] = 0x602;
  EXPECT_EQ(ask_debug(theirs), -1);
  EXPECT_EQ(errno, ENOSPC);
  // Stepping needs no register.
  theirs.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
  EXPECT_EQ(ask_debug(theirs), 0);
  EXPECT_TRUE(kvm_.debug[0].control & KVM_GUESTDBG_SINGLESTEP);
  EXPECT_EQ(kvm_.debug[0].arch.debugreg[7] & 0xff, 0xaau);
}

TEST_F(KvmProbeTest, AnInjectionIsPassedOnOnce) {
  attach();
  kvm_guest_debug theirs{};
  theirs.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_BP;
  EXPECT_EQ(ask_debug(theirs), 0);
  EXPECT_TRUE(kvm_.debug[0].control & KVM_GUESTDBG_INJECT_BP);
  ASSERT_TRUE(place(1));
  kvm_.script[0] = {io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_FALSE(kvm_.debug[0].control & KVM_GUESTDBG_INJECT_BP);
  EXPECT_TRUE(kvm_.debug[0].control & KVM_GUESTDBG_USE_SW_BP);
}

TEST_F(KvmProbeTest, AKernelThatRefusesBreakpointsIsTold) {
  attach();
  ASSERT_TRUE(place(1));
  kvm_.refuse_debug = true;
  kvm_.script[0] = {io_exit};
  EXPECT_EQ(run(), 0);
  const auto again = probe_.commit();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::unsupported);
}

TEST_F(KvmProbeTest, AKernelWithoutSyncedRegistersIsTold) {
  kvm_.sync_regs = 0;
  const auto welcome = probe_.attach(Tier::stealth);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::unsupported);
}

TEST_F(KvmProbeTest, AQemuWithoutAVmIsTold) {
  KvmProbe other(kvm_, {.max_vcpus = 1, .ring_bytes = 1 << 16});
  const auto welcome = other.attach(Tier::stealth);
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().code, ErrorCode::unsupported);
}

TEST_F(KvmProbeTest, WhatBreakpointsCannotDoIsRefused) {
  attach();
  auto returning = argument_hook(1);
  returning.on_return = argument_hook(1).entry;
  EXPECT_EQ(probe_.load(std::move(returning)).error().code, ErrorCode::unsupported);
  EXPECT_EQ(probe_.watch_user_pages(true).error().code, ErrorCode::unsupported);
  EXPECT_TRUE(probe_.watch_user_pages(false));
  ASSERT_TRUE(probe_.load(argument_hook(1)));
  PageSites sites;
  sites.entries.push_back({.offset = 0, .hook = {1}});
  sites.address = Gva{0x400000};
  EXPECT_FALSE(probe_.place(kPage, sites));
  sites.address = Gva{kText};
  EXPECT_FALSE(probe_.place(Gpa{kRamSize}, sites));
}

TEST_F(KvmProbeTest, AVcpuThatHasNoRingIsLeftAlone) {
  attach();
  add_vcpu();
  add_vcpu();
  ASSERT_TRUE(place(1));
  kvm_.script[2] = {io_exit};
  EXPECT_EQ(run(2), 0);
  EXPECT_EQ(kvm_.debug[2].control, 0u);
}

TEST(MaxVcpus, AreWhatTheCommandLineSays) {
  EXPECT_EQ(max_vcpus_of({"qemu"}), 1u);
  EXPECT_EQ(max_vcpus_of({"qemu", "-smp", "2"}), 2u);
  EXPECT_EQ(max_vcpus_of({"qemu", "-smp", "cpus=2,maxcpus=6"}), 6u);
  EXPECT_EQ(max_vcpus_of({"qemu", "-smp", "1,sockets=2,cores=2,threads=2"}), 8u);
  EXPECT_EQ(max_vcpus_of({"qemu", "-smp", "99999999999"}), 256u);
  EXPECT_EQ(max_vcpus_of({"qemu", "-smp", "x"}), 1u);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
