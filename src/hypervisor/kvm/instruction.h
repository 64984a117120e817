// The few instructions that a breakpoint instruction may stand on: what they do is done in their
// stead, so that the byte need not be put back for the guest to go on.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/guest_address.h"

namespace glasshook::hypervisor::kvm {

inline constexpr std::byte kInt3{0xcc};
inline constexpr std::size_t kMaxInstructionBytes = 15;

/// What an instruction does. Small enough to be replaced at once under a vCPU that looks at it.
struct Instruction {
  enum class Kind : std::uint8_t {
    none,  ///< not one of the few
    nop,   ///< of any length; endbr64
    push,  ///< of a 64-bit register
    call,  ///< direct
    jump,  ///< direct
    ret,   ///< near
  };
  Kind kind = Kind::none;
  std::uint8_t length = 0;    ///< bytes
  std::uint8_t reg = 0;       ///< push: in x86 encoding order
  bool marks_target = false;  ///< endbr64, or the nop the kernel puts in its place
  std::int32_t operand = 0;   ///< call, jump: distance; ret: bytes to take off the stack
  bool operator==(const Instruction&) const = default;
};
static_assert(sizeof(Instruction) == 8);

/// The instruction that begins `code`, which may hold anything.
[[nodiscard]] Instruction decode(std::span<const std::byte> code);

/// Whose stack it is.
class GuestStack {
 public:
  virtual ~GuestStack() = default;
  /// False, with nothing done, where the processor would fault, or may.
  [[nodiscard]] virtual bool load(Gva from, std::uint64_t& value) = 0;
  [[nodiscard]] virtual bool store(Gva to, std::uint64_t value) = 0;
};

/// Does what the instruction at regs.rip does. False, with nothing changed, when the processor has
/// to do it itself: its stack is not there, or it would go where no code can be.
[[nodiscard]] bool emulate(Instruction instruction, bool five_level, kvm_regs& regs,
                           GuestStack& stack);

}  // namespace glasshook::hypervisor::kvm
