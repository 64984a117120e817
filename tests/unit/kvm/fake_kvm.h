// A KVM that follows a script, and a probe on it.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <vector>

#include "capture/builder.h"
#include "capture/ring.h"
#include "hypervisor/kvm/kvm_probe.h"

namespace glasshook::hypervisor::kvm {

inline constexpr int kKvmFd = 100, kVmFd = 101, kFirstVcpuFd = 110;
inline constexpr std::uint64_t kRamSize = 1 << 20;
inline constexpr Gpa kPage{0x4000};
inline constexpr std::uint64_t kText = 0xffffffff81000000;

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
      case KVM_GET_SREGS:
        *static_cast<kvm_sregs*>(argument) = special_registers;
        ++special_asked;
        return 0;
      case kGetMsrs: {
        auto& asked = *static_cast<OneMsr*>(argument);
        asked.entry.data = msrs[asked.entry.index];
        return static_cast<int>(asked.count);
      }
      case KVM_SET_REGS:
        set_regs = *static_cast<kvm_regs*>(argument);
        return 0;
      case KVM_SET_USER_MEMORY_REGION:
        if (on_memory) on_memory();
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
  kvm_sregs special_registers{};  ///< when they are asked for
  int special_asked = 0;
  std::map<std::uint32_t, std::uint64_t> msrs;  ///< by number
  std::function<void()> on_memory;              ///< when a memory slot is set

 private:
  std::mutex mutex_;
};

/// An exit for a debug exception with these bits of DR6, at `pc`, with `rdi` and time to come.
inline FakeKvm::Step debug_exit(std::uint64_t dr6, std::uint64_t pc, std::uint64_t rdi = 0) {
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

inline int io_exit(kvm_run& run) {
  run.exit_reason = KVM_EXIT_IO;
  return 0;
}

/// Captures the first argument; with `returns`, sees the return, too.
inline HookPrograms argument_hook(std::uint32_t id, bool returns = false) {
  capture::Builder entry(capture::ProgramRole::entry);
  entry.load_cpu(capture::Reg{0}, capture::CpuRegister::rdi).emit_words(16, capture::Reg{0}, 1);
  if (returns) entry.arm_return();
  entry.send();
  HookPrograms hook{.id = {id}, .entry = *entry.build(), .on_return = {}};
  if (!returns) return hook;
  capture::Builder exit(capture::ProgramRole::exit);
  exit.stop();
  hook.on_return = *exit.build();
  return hook;
}

class KvmProbeFixture : public testing::Test {
 protected:
  explicit KvmProbeFixture(bool guards_writes = false)
      : probe_(kvm_, {.max_vcpus = 2,
                      .ring_bytes = probe::SharedRegion::ring_bytes_for(1 << 16),
                      .guards_writes = guards_writes}) {
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
  ~KvmProbeFixture() override {
    munmap(ram_, kRamSize);
    close(ram_fd_);
  }

  std::byte* memory() { return static_cast<std::byte*>(ram_); }
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
  KvmProbe probe_;
  void* ram_ = nullptr;
  int ram_fd_ = -1;
  std::uint32_t loaded_ = 0;
  probe::ControlTarget::Welcome welcome_;
  probe::SharedRegion region_;
};

}  // namespace glasshook::hypervisor::kvm
