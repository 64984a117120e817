// Arithmetic as the processor does it, with its flags.
#pragma once

#include <cstdint>

#include "hypervisor/kvm/instruction.h"

namespace glasshook::hypervisor::kvm {

/// CF, PF, AF, ZF, SF and OF in RFLAGS (Intel SDM vol. 1, 3.4.3.1).
inline constexpr std::uint64_t kStatusFlags = 0x8d5;

struct AluResult {
  std::uint64_t value = 0;  ///< zero above the operands' width
  std::uint64_t flags = 0;  ///< of kStatusFlags
};

/// What add, bit_or, bit_and, subtract, bit_xor, compare or test make of two operands of
/// 1 << width bytes, above which anything may be (Intel SDM vol. 2, each instruction's "Flags
/// Affected"). The AF that the bitwise ones leave undefined is clear, as processors have it.
[[nodiscard]] AluResult calculate(Instruction::Kind kind, unsigned width, std::uint64_t left,
                                  std::uint64_t right);

}  // namespace glasshook::hypervisor::kvm
