// What happens in QEMU's threads: its ioctls, and the exits of our breakpoints.
#include <algorithm>
#include <cerrno>

#include "hypervisor/kvm/guest_memory.h"
#include "hypervisor/kvm/kvm_probe.h"

namespace glasshook::hypervisor::kvm {
namespace {

/// KVM_SET_USER_MEMORY_REGION2 (Linux 6.8), which begins as the older one does.
constexpr unsigned long kSetUserMemoryRegion2 = 0x40a0ae49;
constexpr std::uint64_t kCr4La57 = 1 << 12;
constexpr std::uint32_t kInjections = KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP;
constexpr std::uint32_t kBreakpointException = 3;
constexpr std::uint64_t kGeneralRegisters = KVM_SYNC_X86_REGS;
constexpr std::uint64_t kAllRegisters = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
/// KVM_RUN_X86_GUEST_MODE (Linux 6.11): a guest of the guest's was running.
constexpr std::uint16_t kNestedGuest = 1 << 2;

/// In x86 encoding order, as CpuState has them.
std::array<std::uint64_t, 16> general_registers(const kvm_regs& r) {
  return {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
          r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
}

AddressSpace space_of(const kvm_sregs& sregs) {
  return {.root = Gpa{sregs.cr3 & kCr3RootMask}, .five_level = (sregs.cr4 & kCr4La57) != 0};
}

}  // namespace

int KvmProbe::ioctl(int fd, unsigned long request, void* argument) {
  switch (request) {
    case KVM_RUN:
      if (Vcpu* vcpu = find(fd)) return run(*vcpu, argument);
      break;
    case KVM_SET_GUEST_DEBUG:
      if (Vcpu* vcpu = find(fd))
        return set_guest_debug(*vcpu, *static_cast<const kvm_guest_debug*>(argument));
      break;
    case KVM_CREATE_VCPU:
      return create_vcpu(fd, argument);
    case KVM_SET_USER_MEMORY_REGION:
    case kSetUserMemoryRegion2:
      if (fd == vm_fd_) return set_memory(fd, request, argument);
      break;
    default:
      break;
  }
  const int result = calls_.ioctl(fd, request, argument);
  if (request == KVM_CREATE_VM && result >= 0 && vcpu_count() == 0) {
    kvm_fd_ = fd;
    vm_fd_ = result;
  }
  return result;
}

int KvmProbe::set_memory(int fd, unsigned long request, void* argument) {
  const auto& region = *static_cast<const kvm_userspace_memory_region*>(argument);
  const probe::RamMapping mapping = [this] {
    const std::lock_guard lock(mapping_mutex_);
    return mapping_;
  }();
  // A snapshot and a migration begin like this, before any memory is copied: what they take is the
  // guest's code as it is without us.
  if (MemorySlots::notes_writes(region, mapping)) {
    saving_ = true;
    if (patches_.lift() > 0) ++runner_->counters(0).lifted;
  }
  const int result = calls_.ioctl(fd, request, argument);
  if (result >= 0) slots_.set(region);
  saving_ = slots_.notes_writes(mapping);
  return result;
}

int KvmProbe::create_vcpu(int vm_fd, void* argument) {
  const int fd = calls_.ioctl(vm_fd, KVM_CREATE_VCPU, argument);
  if (fd < 0 || vm_fd != vm_fd_) return fd;
  const std::lock_guard lock(vcpus_mutex_);
  const std::size_t index = vcpu_count();
  const int size = calls_.ioctl(kvm_fd_, KVM_GET_VCPU_MMAP_SIZE, nullptr);
  auto vcpu = std::make_unique<Vcpu>();
  vcpu->fd = fd;
  vcpu->index = static_cast<std::uint32_t>(index);
  if (index < vcpus_.size() && size > 0)
    vcpu->run = calls_.map_run(fd, static_cast<std::size_t>(size));
  if (vcpu->run == nullptr) {
    // It would run into breakpoint instructions.
    unknown_vcpu_ = true;
    patches_.lift();
    return fd;
  }
  vcpus_[index] = std::move(vcpu);
  vcpu_count_.store(index + 1, std::memory_order_release);
  return fd;
}

Vcpu* KvmProbe::find(int fd) const {
  // A thread runs one vCPU, over and over.
  thread_local Vcpu* last = nullptr;
  thread_local const KvmProbe* of = nullptr;
  if (of == this && last->fd == fd) [[likely]]
    return last;
  for (std::size_t i = 0; i < vcpu_count(); ++i) {
    if (vcpus_[i]->fd != fd) continue;
    of = this;
    return last = vcpus_[i].get();
  }
  return nullptr;
}

GuestDebug KvmProbe::merged_for(const Vcpu& vcpu, const kvm_guest_debug& theirs) const {
  const Plan& plan = *plan_.load();
  if (plan.instructions()) return merge(theirs, {}, true);
  // A vCPU without a ring is left alone.
  if (!region_ || vcpu.index >= region_->vcpus()) return merge(theirs, {});
  return merge(theirs, plan.addresses());
}

/// While a vCPU's thread is in the guest, or looks at a plan.
class KvmProbe::Busy {
 public:
  Busy(KvmProbe& probe, Vcpu& vcpu) : probe_(probe), vcpu_(vcpu) { vcpu.running = true; }
  ~Busy() {
    const int error = errno;
    vcpu_.running = false;
    if (vcpu_.generation.load(std::memory_order_relaxed) != probe_.generation_)
      probe_.tell_progress();
    errno = error;
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  KvmProbe& probe_;
  Vcpu& vcpu_;
};

int KvmProbe::set_guest_debug(Vcpu& vcpu, const kvm_guest_debug& theirs) {
  const Busy busy(*this, vcpu);
  const GuestDebug merged = merged_for(vcpu, theirs);
  if (merged.left_out > 0) {
    // Whoever debugs is told that there is no room, as by a processor with fewer breakpoints.
    errno = ENOSPC;
    return -1;
  }
  kvm_guest_debug request = merged.request;
  const int result = calls_.ioctl(vcpu.fd, KVM_SET_GUEST_DEBUG, &request);
  if (result < 0) return result;
  vcpu.theirs = theirs;
  vcpu.theirs.control &= ~kInjections;
  vcpu.armed = merged.armed;
  vcpu.taken = registers_taken(theirs);
  return result;
}

void KvmProbe::arm(Vcpu& vcpu) {
  const std::uint32_t generation = generation_;
  GuestDebug merged = merged_for(vcpu, vcpu.theirs);
  const bool done = calls_.ioctl(vcpu.fd, KVM_SET_GUEST_DEBUG, &merged.request) == 0;
  vcpu.armed = done ? merged.armed : ArmedBreakpoints{};
  vcpu.refused = !done || merged.left_out > 0;
  // It must not run into what it does not exit at.
  if (!done) patches_.lift();
  const bool armed = vcpu.armed.ours != 0 || vcpu.armed.instructions;
  vcpu.run->kvm_valid_regs = armed ? kAllRegisters : 0;
  vcpu.kernel_gs = {};
  vcpu.tables = {};
  vcpu.generation = generation;
  tell_progress();
}

bool KvmProbe::all_armed() const {
  const std::uint32_t generation = generation_;
  for (std::size_t i = 0; i < vcpu_count(); ++i)
    if (vcpus_[i]->running && vcpus_[i]->generation != generation) return false;
  return true;
}

void KvmProbe::tell_progress() {
  if (!region_) return;
  const std::uint32_t generation = generation_;
  if (!all_armed()) return;
  auto& done = region_->header().commits_done;
  done = generation;
  probe::futex_wake(done);
}

inline void KvmProbe::resume_past_breakpoint(Vcpu& vcpu, bool qemu_looks_first) {
  kvm_regs& regs = vcpu.run->s.regs.regs;
  regs.rflags |= kResumeFlag;
  // Registers that wait in the shared page would overwrite what QEMU sets meanwhile.
  if (qemu_looks_first)
    calls_.ioctl(vcpu.fd, KVM_SET_REGS, &regs);
  else
    vcpu.run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

inline bool KvmProbe::handle_debug_exit(Vcpu& vcpu) {
  if (vcpu.armed.instructions && vcpu.run->debug.arch.exception == kBreakpointException)
    return handle_instruction_exit(vcpu);
  const DebugExit exit = take_apart(vcpu.run->debug.arch, vcpu.armed);
  if (exit.hit) hit(vcpu, plan_.load()->at(CodePlace(Gva{*exit.hit})));
  if (exit.ours) resume_past_breakpoint(vcpu, exit.for_qemu);
  vcpu.run->debug.arch.dr6 = exit.dr6;
  return !exit.for_qemu;
}

int KvmProbe::run(Vcpu& vcpu, void* argument) {
  if (vcpu.thread.load(std::memory_order_relaxed) == 0) vcpu.thread = calls_.thread();
  const Busy busy(*this, vcpu);
  int result = 0;
  do {
    if (vcpu.generation.load(std::memory_order_relaxed) != generation_) arm(vcpu);
    result = calls_.ioctl(vcpu.fd, KVM_RUN, argument);
  } while (result == 0 && vcpu.run->exit_reason == KVM_EXIT_DEBUG && handle_debug_exit(vcpu));
  return result;
}

bool KvmProbe::handle_instruction_exit(Vcpu& vcpu) {
  const Gva pc{vcpu.run->debug.arch.pc};
  if ((vcpu.run->flags & kNestedGuest) != 0) return give_back(vcpu);
  const auto where = [&]() -> Located {
    const kvm_sregs* sregs = special_registers(vcpu);
    return sregs != nullptr ? locate(ram_, space_of(*sregs), pc) : Located{};
  };
  // The kernel's is known by its address alone.
  const Located program = pc.is_kernel() ? Located{} : where();
  const auto sites = sites_at(pc, program);
  if (!sites.empty()) {
    Patch& patch = *sites.front().patch;
    // A 32-bit program can run the same bytes, which mean something else there.
    const bool understood = pc.is_kernel() || vcpu.run->s.regs.sregs.cs.l != 0;
    if (understood) hit(vcpu, sites);
    if (!understood || !stand_in(vcpu, patch, program.host != nullptr))
      leave_to_processor(vcpu, patch, program.host);
    return true;
  }
  // One that was taken out on the way here is not there any more: the guest runs what is.
  const Located place = pc.is_kernel() ? where() : program;
  if (place.host != nullptr && std::atomic_ref(*place.host).load() != kInt3) return true;
  return give_back(vcpu);
}

std::span<const Site> KvmProbe::sites_at(Gva pc, const Located& where) const {
  const Plan& plan = *plan_.load();
  const auto are_in = [](std::span<const Site> sites) {
    return !sites.empty() && sites.front().patch->in ? sites : std::span<const Site>{};
  };
  if (pc.is_kernel()) return are_in(plan.at(CodePlace(pc)));
  if (where.host == nullptr) return {};
  if (const auto sites = plan.at(CodePlace(where.gpa)); !sites.empty()) return are_in(sites);
  const std::byte* page = ram_.at(where.gpa.page(), kPageSize);
  if (page == nullptr) return {};
  return plan.at_copy(std::span<const std::byte, kPageSize>(page, kPageSize), pc.page_offset());
}

bool KvmProbe::stand_in(Vcpu& vcpu, const Patch& patch, bool program) {
  // Whatever found a program's place has looked at these.
  const AddressSpace space = program ? space_of(vcpu.run->s.regs.sregs) : environment_.kernel_space;
  VcpuMemory memory(ram_, space, program);
  if (!emulate(patch.instruction, space.five_level, vcpu.run->s.regs.regs, memory)) return false;
  vcpu.run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
  return true;
}

void KvmProbe::leave_to_processor(const Vcpu& vcpu, Patch& patch, std::byte* in_program) {
  if (in_program != nullptr && in_program != patch.host) {
    std::atomic_ref(*in_program).store(patch.original);  // in a copy, for good
    return;
  }
  patches_.lift(patch);
  if (in_program != nullptr && vcpu.index < region_->vcpus())
    ++runner_->counters(vcpu.index).lifted;
}

bool KvmProbe::give_back(Vcpu& vcpu) {
  // QEMU gives back what is not its debugger's.
  if (uses_instructions(vcpu.theirs)) return false;
  GuestDebug merged = merged_for(vcpu, vcpu.theirs);
  merged.request.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP;
  return calls_.ioctl(vcpu.fd, KVM_SET_GUEST_DEBUG, &merged.request) == 0;
}

const kvm_sregs* KvmProbe::special_registers(Vcpu& vcpu) {
  kvm_sregs& sregs = vcpu.run->s.regs.sregs;
  const bool here = (vcpu.run->kvm_valid_regs & KVM_SYNC_X86_SREGS) != 0 ||
                    calls_.ioctl(vcpu.fd, KVM_GET_SREGS, &sregs) == 0;
  return here ? &sregs : nullptr;
}

std::uint64_t KvmProbe::kernel_gs_of_program(Vcpu& vcpu) {
  constexpr std::uint32_t kMsrKernelGsBase = 0xc0000102;  // what swapgs brings (SDM vol. 4)
  if (vcpu.kernel_gs) return *vcpu.kernel_gs;
  OneMsr msr;
  msr.entry.index = kMsrKernelGsBase;
  if (calls_.ioctl(vcpu.fd, kGetMsrs, &msr) != 1) return 0;
  return *(vcpu.kernel_gs = msr.entry.data);
}

inline bool KvmProbe::find_tables(Vcpu& vcpu, capture::CpuState& cpu, Needs needs) {
  if (needs != Needs::tables) return needs == Needs::general;
  return process_tables_ && vcpu.tables.find_root(ram_, environment_.kernel_space, *vcpu.kernel_gs,
                                                  *process_tables_, cpu.space.root);
}

inline void KvmProbe::complete(Vcpu& vcpu, capture::CpuState& cpu, bool in_kernel, Needs needs) {
  cpu.user_mode = !in_kernel;
  cpu.space = environment_.kernel_space;
  const bool known = in_kernel && vcpu.kernel_gs && find_tables(vcpu, cpu, needs);
  if (known) [[likely]]
    cpu.kernel_gs = *vcpu.kernel_gs;
  else
    complete_from_kvm(vcpu, cpu, in_kernel);
  // The next hit most likely wants what this one did. With the exit that is cheaper than asked for.
  vcpu.run->kvm_valid_regs = needs == Needs::special ? kAllRegisters : kGeneralRegisters;
}

void KvmProbe::complete_from_kvm(Vcpu& vcpu, capture::CpuState& cpu, bool in_kernel) {
  if (const kvm_sregs* sregs = special_registers(vcpu)) {
    cpu.space = space_of(*sregs);
    cpu.fs_base = sregs->fs.base;
    cpu.gs_base = sregs->gs.base;
    cpu.idt_base = sregs->idt.base;
    if (in_kernel) vcpu.kernel_gs = sregs->gs.base;
  }
  cpu.kernel_gs = in_kernel ? vcpu.kernel_gs.value_or(0) : kernel_gs_of_program(vcpu);
}

void KvmProbe::hit(Vcpu& vcpu, std::span<const Site> sites) {
  // A vCPU without a ring comes here for breakpoint instructions only.
  if (sites.empty() || vcpu.index >= region_->vcpus()) return;
  const kvm_regs& regs = vcpu.run->s.regs.regs;
  capture::CpuState cpu;
  cpu.gpr = general_registers(regs);
  cpu.rip = regs.rip;
  cpu.vcpu = vcpu.index;
  Needs needs = Needs::general;
  for (const Site& site : sites) needs = std::max(needs, site.needs);
  complete(vcpu, cpu, sites.front().place.is_kernel(), needs);
  for (const Site& site : sites) {
    if (site.returns) {
      runner_->leave(cpu);
      continue;
    }
    if (site.entry != 0) cpu.rip = site.entry;
    for (const auto& [offset, hook] : site.hooks)
      if (runner_->enter(*hook, cpu, false) && hook->uncovers && patches_.uncover_programs() > 0)
        ++runner_->counters(vcpu.index).lifted;
  }
}

}  // namespace glasshook::hypervisor::kvm
