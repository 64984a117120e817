#include "machine/kvm_check.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <utility>

namespace glasshook::machine {
namespace {

constexpr std::uint64_t kMemory = 0x20'0000;  ///< one large page
constexpr std::uint64_t kTables = 0x1000, kCode = 0x8000, kStack = 0xa000, kAnswer = 0x9000;
constexpr std::uint64_t kResumeFlag = 1 << 16;
constexpr unsigned kPatienceSeconds = 5;

/// What a kernel does, in small: control registers, the stack, memory.
constexpr std::array<std::uint8_t, 22> kProgram{
    0x0f, 0x20, 0xd8,                                                        // mov rax, cr3
    0x0f, 0x22, 0xd8,                                                        // mov cr3, rax
    0x9c, 0x58,                                                              // pushfq; pop rax
    0x90,                                                                    // nop: breakpoint
    0x48, 0xc7, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, 0x34, 0x12, 0x00, 0x00,  // mov [0x9000], 0x1234
    0xf4};                                                                   // hlt
constexpr std::uint64_t kBreakpoint = kCode + 8;
constexpr std::uint32_t kAnswerValue = 0x1234;

/// How far the guest came; what the process that runs it ends with.
enum class Reached : std::uint8_t {
  end,
  no_vm,
  no_capability,
  no_run,
  no_breakpoint,
  stuck_at_breakpoint,
  wrong_answer,
};

/// Flat 64-bit segments (Intel SDM vol. 3A, 3.4.5) and page tables that map the memory onto itself.
void enter_long_mode(kvm_sregs& s) {
  s.cr3 = kTables;
  s.cr4 = 0x20;        // PAE
  s.cr0 = 0x80050033;  // paging, write protection, protected mode and what goes with it
  s.efer = 0x500;      // long mode, enabled and active
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.present = segment.s = segment.g = segment.db = 1;
  segment.type = 3;
  segment.selector = 16;
  s.ds = s.es = s.fs = s.gs = s.ss = segment;
  segment.type = 11;
  segment.selector = 8;
  segment.db = 0;
  segment.l = 1;
  s.cs = segment;
}

/// In a process of its own, which an alarm ends when the guest never comes back.
Reached run_tiny_guest(int kvm) {
  if (::ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG) <= 0 ||
      (::ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & 3) != 3)
    return Reached::no_capability;
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
  void* mapped =
      ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (vm < 0 || mapped == MAP_FAILED) return Reached::no_vm;
  auto* memory = static_cast<std::byte*>(mapped);
  const auto put = [&](std::uint64_t at, std::uint64_t value) {
    std::memcpy(memory + at, &value, sizeof value);
  };
  put(kTables, (kTables + 0x1000) | 3);
  put(kTables + 0x1000, (kTables + 0x2000) | 3);
  put(kTables + 0x2000, 0x83);
  std::memcpy(memory + kCode, kProgram.data(), kProgram.size());
  kvm_userspace_memory_region region{};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<std::uint64_t>(memory);
  if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) return Reached::no_vm;

  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0);
  const int size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (vcpu < 0 || size <= 0) return Reached::no_vm;
  void* shared =
      ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (shared == MAP_FAILED) return Reached::no_vm;
  auto* run = static_cast<kvm_run*>(shared);
  kvm_sregs special{};
  kvm_regs regs{};
  regs.rip = kCode;
  regs.rsp = kStack;
  regs.rflags = 2;
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  debug.arch.debugreg[0] = kBreakpoint;
  debug.arch.debugreg[7] = 0x602;
  if (::ioctl(vcpu, KVM_GET_SREGS, &special) != 0) return Reached::no_vm;
  enter_long_mode(special);
  if (::ioctl(vcpu, KVM_SET_SREGS, &special) != 0 || ::ioctl(vcpu, KVM_SET_REGS, &regs) != 0 ||
      ::ioctl(vcpu, KVM_SET_GUEST_DEBUG, &debug) != 0)
    return Reached::no_vm;

  run->kvm_valid_regs = KVM_SYNC_X86_REGS;
  if (::ioctl(vcpu, KVM_RUN, 0) != 0) return Reached::no_run;
  if (run->exit_reason != KVM_EXIT_DEBUG || run->debug.arch.pc != kBreakpoint)
    return run->exit_reason == KVM_EXIT_HLT ? Reached::no_breakpoint : Reached::no_run;
  run->s.regs.regs.rflags |= kResumeFlag;
  run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
  if (::ioctl(vcpu, KVM_RUN, 0) != 0) return Reached::no_run;
  if (run->exit_reason == KVM_EXIT_DEBUG) return Reached::stuck_at_breakpoint;
  std::uint32_t answer = 0;
  std::memcpy(&answer, memory + kAnswer, sizeof answer);
  return run->exit_reason == KVM_EXIT_HLT && answer == kAnswerValue ? Reached::end
                                                                    : Reached::wrong_answer;
}

const char* explained(Reached reached) {
  switch (reached) {
    case Reached::end:
      return "";
    case Reached::no_vm:
      return "KVM makes no VM";
    case Reached::no_capability:
      return "this kernel's KVM lacks guest debugging with synced registers (Linux 4.17)";
    case Reached::no_run:
      return "KVM runs no 64-bit guest";
    case Reached::no_breakpoint:
      return "KVM does not stop a guest at a breakpoint";
    case Reached::stuck_at_breakpoint:
      return "KVM does not let a guest go past a breakpoint";
    case Reached::wrong_answer:
      return "KVM runs a guest wrongly";
  }
  return "KVM does not work";
}

}  // namespace

Result<> check_kvm(const std::filesystem::path& device) {
  const UniqueFd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!kvm.valid() && errno == ENOENT)
    return with_remedy(fail(ErrorCode::not_found, "there is no {}", device.native()),
                       "load the module kvm_intel or kvm_amd; in a VM, its host has to allow it");
  if (!kvm.valid())
    return with_remedy(
        fail(ErrorCode::io, "cannot open {}: {}", device.native(), std::strerror(errno)),
        "sudo usermod -a -G kvm $USER, and log in again");
  constexpr int kApiVersion = 12;
  if (::ioctl(kvm.get(), KVM_GET_API_VERSION, 0) != kApiVersion)
    return fail(ErrorCode::unsupported, "{} is no KVM", device.native());
  const pid_t child = ::fork();
  if (child < 0) return fail(ErrorCode::io, "cannot start a process: {}", std::strerror(errno));
  if (child == 0) {
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(kPatienceSeconds);
    ::_exit(static_cast<int>(run_tiny_guest(kvm.get())));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return fail(ErrorCode::unsupported, "a tiny guest never comes back from KVM");
  const auto reached = static_cast<Reached>(WEXITSTATUS(status));
  if (reached != Reached::end) return fail(ErrorCode::unsupported, "{}", explained(reached));
  return {};
}

Result<UniqueFd> open_userfaultfd(const std::filesystem::path& device) {
  UniqueFd opened(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (opened.valid()) return opened;
  const int error = errno;
  return with_remedy(
      fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io,
           "who writes over a hook of the broad tier is noticed late: cannot open {}: {}",
           device.native(), std::strerror(error)),
      error == ENOENT ? "Linux 6.1 or later has it"
                      : "sudo setfacl -m u:$USER:rw " + device.native());
}

}  // namespace glasshook::machine
