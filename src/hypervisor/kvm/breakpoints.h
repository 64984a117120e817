// Hardware breakpoints of a vCPU: ours beside those of QEMU's own debugger, and whose an exit is.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

namespace glasshook::hypervisor::kvm {

inline constexpr std::size_t kDebugRegisters = 4;

/// DR6 (Intel SDM vol. 3B, 17.2.3): bits that are always set, the four breakpoints, single-step.
inline constexpr std::uint64_t kDr6Fixed = 0xffff'0ff0;
inline constexpr std::uint64_t kDr6Breakpoints = 0xf;
inline constexpr std::uint64_t kDr6SingleStep = 1 << 14;
/// Resume flag: the next instruction runs although there is a breakpoint on it.
inline constexpr std::uint64_t kResumeFlag = 1 << 16;

/// Which debug registers of a vCPU are ours, and what is in them.
struct ArmedBreakpoints {
  std::array<std::uint64_t, kDebugRegisters> addresses{};
  std::uint8_t ours = 0;      ///< a bit a register
  bool instructions = false;  ///< breakpoint instructions of ours exit, too
};

/// What to tell KVM.
struct GuestDebug {
  kvm_guest_debug request{};
  ArmedBreakpoints armed;
  std::size_t left_out = 0;  ///< of our addresses, for want of a register
};

/// A bit for each debug register that such a request of QEMU's takes.
[[nodiscard]] std::uint8_t registers_taken(const kvm_guest_debug& theirs);

/// QEMU's request and execution breakpoints at our addresses. QEMU's come first. `instructions`:
/// breakpoint instructions shall exit.
[[nodiscard]] GuestDebug merge(const kvm_guest_debug& theirs,
                               std::span<const std::uint64_t> addresses, bool instructions = false);

/// Whether QEMU's debugger has breakpoint instructions of its own.
[[nodiscard]] bool uses_instructions(const kvm_guest_debug& theirs);

/// A debug exit, taken apart.
struct DebugExit {
  std::optional<std::uint64_t> hit;  ///< the guest is about to run the instruction at this address
  bool ours = false;  ///< a breakpoint of ours is (also) why; the guest has to get past it
  /// Something else has happened too, which QEMU has to hear of: its own breakpoint or step, or
  /// what the guest did to itself (QEMU gives it that back). `dr6` is without our part in it.
  bool for_qemu = false;
  std::uint64_t dr6 = 0;
};

[[nodiscard]] inline DebugExit take_apart(const kvm_debug_exit_arch& exit,
                                          const ArmedBreakpoints& armed) {
  constexpr std::uint32_t kDebugException = 1;  // its vector
  DebugExit result{.hit = {}, .for_qemu = true, .dr6 = exit.dr6};
  if (exit.exception != kDebugException) return result;
  result.ours = (exit.dr6 & armed.ours) != 0;
  result.dr6 = exit.dr6 & ~std::uint64_t{armed.ours};
  for (auto fired = static_cast<std::uint32_t>(armed.ours & exit.dr6); fired != 0;
       fired &= fired - 1)
    if (armed.addresses[static_cast<std::size_t>(std::countr_zero(fired))] == exit.pc)
      result.hit = exit.pc;
  // With nothing else to it, an exit for a breakpoint of ours is ours alone.
  const std::uint64_t cause = result.dr6 & ~kDr6Fixed;
  result.for_qemu = cause != 0 || !result.ours;
  return result;
}

}  // namespace glasshook::hypervisor::kvm
