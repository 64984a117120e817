// The probe against a KVM that follows a script.
#include "hypervisor/kvm/kvm_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <semaphore>
#include <thread>

#include "capture/builder.h"
#include "capture/ring.h"

namespace glasshook::hypervisor::kvm {
namespace {

using capture::CpuRegister;

constexpr int kKvmFd = 100, kVmFd = 101, kFirstVcpuFd = 110;
constexpr std::uint64_t kRamSize = 1 << 20;
constexpr Gpa kPage{0x4000};
constexpr std::uint64_t kText = 0xffffffff81000000;

/// Answers ioctls; KVM_RUN does what the script of that vCPU says next.
class FakeKvm final : public KvmCalls {
 public:
  using Step = std::function<int(kvm_run&)>;

  int ioctl(int fd, unsigned long request, void* argument) override {
    const std::lock_guard lock(mutex_);
    switch (request) {
      case KVM_CREATE_VM:
        return kVmFd;
      case KVM_GET_VCPU_MMAP_SIZE:
        return sizeof(kvm_run);
      case KVM_CREATE_VCPU:
        runs.push_back(std::make_unique<kvm_run>());
        debug.emplace_back();
        script.emplace_back();
        return kFirstVcpuFd + static_cast<int>(runs.size()) - 1;
      case KVM_CHECK_EXTENSION:
        if (reinterpret_cast<unsigned long>(argument) == KVM_CAP_SYNC_REGS) return sync_regs;
        return 1;
      case KVM_SET_GUEST_DEBUG:
        if (refuse_debug) return errno = EINVAL, -1;
        debug[index(fd)] = *static_cast<kvm_guest_debug*>(argument);
        ++arms;
        return 0;
      case KVM_SET_REGS:
        set_regs = *static_cast<kvm_regs*>(argument);
        return 0;
      case KVM_RUN:
        break;
      default:
        return 0;
    }
    auto& steps = script[index(fd)];
    if (steps.empty()) return errno = EINTR, -1;
    const Step step = steps.front();
    steps.pop_front();
    return step(*runs[index(fd)]);
  }
  kvm_run* map_run(int fd, std::size_t) override { return runs[index(fd)].get(); }
  int thread() override { return 4711; }
  void kick(int thread) override {
    EXPECT_EQ(thread, 4711);
    kicked.release();
  }

  void add_step(int vcpu, Step step) {
    const std::lock_guard lock(mutex_);
    script[static_cast<std::size_t>(vcpu)].push_back(std::move(step));
  }

  static std::size_t index(int fd) { return static_cast<std::size_t>(fd - kFirstVcpuFd); }

  int sync_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  bool refuse_debug = false;
  std::vector<std::unique_ptr<kvm_run>> runs;
  std::vector<kvm_guest_debug> debug;  ///< as each vCPU was told last
  std::vector<std::deque<Step>> script;
  std::counting_semaphore<> kicked{0};
  std::optional<kvm_regs> set_regs;
  int arms = 0;

 private:
  std::mutex mutex_;
};

/// An exit for a debug exception with these bits of DR6, at `pc`, with `rdi` and time to come.
FakeKvm::Step debug_exit(std::uint64_t dr6, std::uint64_t pc, std::uint64_t rdi = 0) {
  return [=](kvm_run& run) {
    run.exit_reason = KVM_EXIT_DEBUG;
    run.debug.arch.exception = 1;
    run.debug.arch.dr6 = kDr6Fixed | dr6;
    run.debug.arch.pc = pc;
    run.s.regs.regs = {};
    run.s.regs.regs.rip = pc;
    run.s.regs.regs.rdi = rdi;
    run.s.regs.regs.rflags = 2;
    return 0;
  };
}

int io_exit(kvm_run& run) {
  run.exit_reason = KVM_EXIT_IO;
  return 0;
}

HookPrograms argument_hook(std::uint32_t id) {
  capture::Builder entry(capture::ProgramRole::entry);
  entry.load_cpu(capture::Reg{0}, CpuRegister::rdi).emit_words(16, capture::Reg{0}, 1);
  entry.send();
  return {.id = {id}, .entry = *entry.build(), .on_return = {}};
}

class KvmProbeTest : public testing::Test {
 protected:
  KvmProbeTest() {
    const int fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, kRamSize), 0);
    ram_ = mmap(nullptr, kRamSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ram_fd_ = fd;
    EXPECT_EQ(probe_.ioctl(kKvmFd, KVM_CREATE_VM, nullptr), kVmFd);
    kvm_userspace_memory_region region{};
    region.memory_size = kRamSize;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(ram_);
    EXPECT_EQ(probe_.ioctl(kVmFd, KVM_SET_USER_MEMORY_REGION, &region), 0);
    add_vcpu();
  }
  ~KvmProbeTest() override {
    munmap(ram_, kRamSize);
    close(ram_fd_);
  }

  void add_vcpu() { EXPECT_GE(probe_.ioctl(kVmFd, KVM_CREATE_VCPU, nullptr), kFirstVcpuFd); }
  int run(int vcpu = 0) { return probe_.ioctl(kFirstVcpuFd + vcpu, KVM_RUN, nullptr); }
  int ask_debug(const kvm_guest_debug& theirs) {
    kvm_guest_debug copy = theirs;
    return probe_.ioctl(kFirstVcpuFd, KVM_SET_GUEST_DEBUG, &copy);
  }
  void attach(Tier tier = Tier::stealth) {
    auto welcome = probe_.attach(tier);
    ASSERT_TRUE(welcome) << welcome.error().message;
    welcome_ = *welcome;
    const auto size = lseek(welcome_.region_fd, 0, SEEK_END);
    auto* at = mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED,
                    welcome_.region_fd, 0);
    region_ =
        *probe::SharedRegion::open({static_cast<std::byte*>(at), static_cast<std::size_t>(size)});
  }
  /// Hooks the function at offset 0x10 * n of the page with hook n + 1.
  Result<> place(std::size_t count) {
    PageSites sites;
    sites.address = Gva{kText};
    for (std::uint32_t n = 0; n < count; ++n) {
      if (n + 1 > loaded_)
        if (auto ok = probe_.load(argument_hook(++loaded_)); !ok) return ok;
      sites.entries.push_back({.offset = static_cast<std::uint16_t>(0x10 * n), .hook = {n + 1}});
    }
    if (auto ok = probe_.place(kPage, sites); !ok) return ok;
    return probe_.commit();
  }
  /// First argument of every record of a vCPU.
  std::vector<std::uint64_t> records(std::uint32_t vcpu) { return words(vcpu, 1); }
  /// All that the first record has.
  std::vector<std::uint64_t> all_words(std::uint32_t vcpu) { return words(vcpu, 64); }
  std::vector<std::uint64_t> words(std::uint32_t vcpu, std::size_t most) {
    std::vector<std::uint64_t> seen;
    auto ring = capture::RingConsumer::attach(region_.ring(vcpu));
    if (!ring) return seen;
    std::vector<std::byte> buffer(capture::kMaxRecordBytes);
    std::size_t size = 0;
    while (ring->peek(buffer, size) == capture::RingConsumer::Peek::record) {
      capture::RecordView record;
      const bool whole = capture::RecordView::parse(std::span{buffer}.first(size), record);
      EXPECT_TRUE(whole);
      for (const auto& field : record.fields().first(std::min(most, record.fields().size())))
        seen.push_back(field.word(0));
      ring->pop();
    }
    return seen;
  }
  std::uint64_t hits(std::uint32_t vcpu, std::uint32_t hook) {
    return region_.counters(vcpu).hooks[hook].hits;
  }

  FakeKvm kvm_;
  KvmProbe probe_{kvm_,
                  {.max_vcpus = 2, .ring_bytes = probe::SharedRegion::ring_bytes_for(1 << 16)}};
  void* ram_ = nullptr;
  int ram_fd_ = -1;
  std::uint32_t loaded_ = 0;
  probe::ControlTarget::Welcome welcome_;
  probe::SharedRegion region_;
};

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
  EXPECT_EQ(kvm_.runs[0]->kvm_valid_regs, std::uint64_t{KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS});
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
