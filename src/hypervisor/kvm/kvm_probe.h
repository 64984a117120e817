// The probe inside a QEMU that runs its guest under KVM: sees QEMU's ioctls and handles the exits
// of its own breakpoints in the vCPU threads, so that QEMU notices nothing.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "capture/rate_limiter.h"
#include "capture/set_table.h"
#include "hypervisor/kvm/breakpoints.h"
#include "hypervisor/kvm/code_patches.h"
#include "hypervisor/kvm/guest_memory.h"
#include "hypervisor/kvm/kvm_calls.h"
#include "hypervisor/kvm/memory_slots.h"
#include "hypervisor/kvm/plan.h"
#include "hypervisor/kvm/running_tables.h"
#include "hypervisor/kvm/write_guard.h"
#include "hypervisor/probe/control_server.h"
#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/probe/watched_page.h"

namespace glasshook::hypervisor::kvm {

/// One vCPU. Made when QEMU makes it, never destroyed.
struct Vcpu {
  int fd = -1;
  std::uint32_t index = 0;  ///< of its ring
  kvm_run* run = nullptr;
  // Of the vCPU's thread alone.
  kvm_guest_debug theirs{};  ///< what QEMU's debugger asked for last
  ArmedBreakpoints armed;
  RunningTables tables;
  std::optional<std::uint64_t> kernel_gs;  ///< GS base in the kernel; known from the first hit on
  // Shared with the control thread.
  std::atomic<std::uint32_t> generation{0};  ///< of what is armed
  std::atomic<bool> running{false};          ///< in KVM_RUN, or on the way there or back
  std::atomic<int> thread{0};
  std::atomic<std::uint8_t> taken{0};  ///< debug registers of QEMU's debugger
  std::atomic<bool> refused{false};    ///< KVM did not take our breakpoints
};

/// How the probe learns about its VM besides the ioctls; a test says it.
struct KvmProbeOptions {
  std::uint32_t max_vcpus = 1;  ///< beyond those there now, for vCPUs that are plugged in later
  std::uint64_t ring_bytes = 0;
  /// How often breakpoint instructions are looked after; 0: only when the test says so.
  std::chrono::milliseconds tend_interval{0};
  /// Write-protect pages with breakpoint instructions, where the kernel lets us.
  bool guards_writes = false;
  /// See WriteGuard::create(). For the first session of the broad tier, and closed with it.
  UniqueFd userfaultfd = {};
};

/// Control thread and vCPU threads meet here. Lives as long as the process.
class KvmProbe final : public probe::ControlTarget {
 public:
  KvmProbe(KvmCalls& calls, KvmProbeOptions options);

  /// QEMU's ioctl on KVM: done, watched, and answered. As ioctl(2).
  int ioctl(int fd, unsigned long request, void* argument);
  /// True once QEMU has made its VM.
  [[nodiscard]] bool has_vm() const { return vm_fd_.load(std::memory_order_relaxed) >= 0; }
  /// Puts breakpoint instructions in that may and should be, and looks after the others. From any
  /// thread.
  void tend();

  // ControlTarget, on the control thread.
  Result<Welcome> attach(Tier tier) override;
  void detach() override;
  Result<> set_kernel_space(AddressSpace space) override;
  Result<> set_return_thunks(std::vector<Gva> thunks) override;
  Result<> set_process_tables(const ProcessTables& process) override;
  Result<> set_context_program(capture::Program program) override;
  Result<> load(HookPrograms hook) override;
  Result<> unload(HookId id) override;
  Result<> place(Gpa page, const PageSites& sites) override;
  Result<> watch_user_pages(bool on) override;
  Result<> commit() override;
  Result<> set_add(std::uint32_t set, std::uint64_t key) override;
  Result<> set_remove(std::uint32_t set, std::uint64_t key) override;
  Result<> set_rate(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) override;

 private:
  struct Placed {
    const probe::WatchedPage* page = nullptr;
    std::vector<Site> sites;
  };

  class Busy;

  // QEMU's calls.
  int create_vcpu(int vm_fd, void* argument);
  int set_guest_debug(Vcpu& vcpu, const kvm_guest_debug& theirs);
  int set_memory(int fd, unsigned long request, void* argument);
  int run(Vcpu& vcpu, void* argument);
  [[nodiscard]] Vcpu* find(int fd) const;

  // vCPU threads.
  [[nodiscard]] GuestDebug merged_for(const Vcpu& vcpu, const kvm_guest_debug& theirs) const;
  void arm(Vcpu& vcpu);
  [[gnu::always_inline]] bool handle_debug_exit(Vcpu& vcpu);
  bool handle_instruction_exit(Vcpu& vcpu);
  /// What is to happen at a breakpoint instruction, if it is one of ours.
  [[nodiscard]] std::span<const Site> sites_at(Gva pc, const Located& where) const;
  void hit(Vcpu& vcpu, std::span<const Site> sites);
  /// The kernel's GS base, while a program runs; 0 when KVM does not tell.
  [[nodiscard]] std::uint64_t kernel_gs_of_program(Vcpu& vcpu);
  /// They come with the exit, when they were asked for, or now. Null when KVM does not tell.
  [[nodiscard]] const kvm_sregs* special_registers(Vcpu& vcpu);
  /// Fills what is neither general registers nor RIP, as far as that is needed.
  [[gnu::always_inline]] void complete(Vcpu& vcpu, capture::CpuState& cpu, bool in_kernel,
                                       Needs needs);
  /// The current page tables, if these are all that is needed; false when KVM has to tell.
  [[nodiscard, gnu::always_inline]] bool find_tables(Vcpu& vcpu, capture::CpuState& cpu,
                                                     Needs needs);
  void complete_from_kvm(Vcpu& vcpu, capture::CpuState& cpu, bool in_kernel);
  /// Does the instruction, a program's or the kernel's; false when the processor has to.
  bool stand_in(Vcpu& vcpu, const Patch& patch, bool program);
  /// The processor does the instruction, and faults as it has to. `in_program`: where the byte is,
  /// when it is a program's, which may run a copy of the patched page.
  void leave_to_processor(const Vcpu& vcpu, Patch& patch, std::byte* in_program);
  bool give_back(Vcpu& vcpu);
  [[gnu::always_inline]] void resume_past_breakpoint(Vcpu& vcpu, bool qemu_looks_first);
  void tell_progress();

  // Control thread.
  Result<> check_kernel();
  Result<> find_ram();
  void map_pieces();
  Result<> make_region();
  /// Guest memory as CodePatches sees it.
  [[nodiscard]] bool read_code(CodePlace from, std::span<std::byte> out) const;
  /// What is to happen on a page; fails when some of its code cannot be hooked.
  Result<> choose_entries(Gpa page, const PageSites& sites, const probe::WatchedPage& watched,
                          std::vector<Site>& chosen);
  Result<> choose_returns(Gpa page, const PageSites& sites, const probe::WatchedPage& watched,
                          std::vector<Site>& chosen);
  [[nodiscard]] std::unique_ptr<Plan> make_plan() const;
  [[nodiscard]] Needs needs_of(const Site& site) const;
  [[nodiscard]] Result<> check_room(const Plan& plan) const;
  void publish(std::unique_ptr<Plan> plan);
  /// True when no vCPU is in the guest, or handles an exit, with an earlier plan.
  [[nodiscard]] bool all_armed() const;
  [[nodiscard]] bool may_patch() const;
  void begin_tending();
  void begin_guarding();
  void free_unused();
  [[nodiscard]] std::size_t vcpu_count() const {
    return vcpu_count_.load(std::memory_order_acquire);
  }

  KvmCalls& calls_;
  KvmProbeOptions options_;
  std::atomic<int> kvm_fd_{-1}, vm_fd_{-1};
  MemorySlots slots_;
  std::array<std::unique_ptr<Vcpu>, probe::kMaxVcpus> vcpus_;
  std::atomic<std::size_t> vcpu_count_{0};
  std::mutex vcpus_mutex_;  ///< making one

  Tier tier_ = Tier::stealth;
  std::atomic<bool> unknown_vcpu_{false};  ///< one that runs past us
  std::atomic<bool> saving_{false};        ///< QEMU saves or sends the guest's memory
  int region_fd_ = -1, ram_fd_ = -1;
  std::mutex mapping_mutex_;
  probe::RamMapping mapping_;
  /// Guest RAM as we read and write it: QEMU's mapping, or our own, which is not write-protected.
  std::byte* memory_ = nullptr;
  probe::OwnMapping own_memory_;  ///< made once, for good
  std::optional<probe::SharedRegion> region_;
  std::vector<probe::RamPiece> pieces_;
  GuestRam ram_;
  std::vector<std::unique_ptr<capture::SetTable>> sets_;  ///< one a monitor; the last is in use
  std::optional<capture::RateLimiterTable> limiters_;
  capture::Environment environment_;
  std::optional<ProcessTables> process_tables_;
  probe::HookTable hooks_;
  std::optional<probe::HitRunner> runner_;

  /// Of the programs of hooks: at entry, and on return.
  std::map<HookId, Needs> entry_needs_, return_needs_;
  std::map<Gpa, Placed> placed_;
  CodePatches patches_;
  std::unique_ptr<WriteGuard> guard_;  ///< in the broad tier, where it works
  // What vCPU threads may still look at.
  std::vector<std::unique_ptr<probe::WatchedPage>> pages_;
  std::vector<std::unique_ptr<Plan>> plans_;  ///< the last is in use
  std::atomic<const Plan*> plan_{nullptr};
  std::atomic<std::uint32_t> generation_{0};  ///< of plan_
  std::jthread tending_;                      ///< last: uses the rest
};

/// The most vCPUs this QEMU can have, by its command line (-smp); 1 when it says nothing.
[[nodiscard]] std::uint32_t max_vcpus_of(const std::vector<std::string>& command_line);

}  // namespace glasshook::hypervisor::kvm
