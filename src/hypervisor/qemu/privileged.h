// Privileged instructions that can be hooked, told by their bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hypervisor/hypervisor.h"

namespace glasshook::hypervisor::qemu {

struct FoundPrivileged {
  PrivilegedInstruction instruction;
  std::uint8_t source = 0;  ///< write_cr0: the general register it reads, as CpuState numbers them
};

/// `code` is one instruction in 64-bit mode, from its first prefix on (Intel SDM volume 2: WRMSR,
/// LGDT/LIDT, MOV to control registers).
[[nodiscard]] constexpr std::optional<FoundPrivileged> find_privileged(
    std::span<const std::uint8_t> code) {
  std::size_t i = 0;
  const auto is_prefix = [](std::uint8_t byte) {
    switch (byte) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
      case 0x66:
      case 0x67:
      case 0xf2:
      case 0xf3:
        return true;
      default:
        return false;
    }
  };
  while (i < code.size() && is_prefix(code[i])) ++i;
  std::uint8_t rex = 0;
  if (i < code.size() && (code[i] & 0xf0) == 0x40) rex = code[i++];
  if (i + 1 >= code.size() || code[i] != 0x0f) return std::nullopt;
  const std::uint8_t opcode = code[i + 1];
  if (opcode == 0x30) return FoundPrivileged{PrivilegedInstruction::write_msr};
  if (i + 2 >= code.size()) return std::nullopt;
  const std::uint8_t mod_rm = code[i + 2];
  const int reg = mod_rm >> 3 & 7;
  constexpr std::uint8_t kRexB = 1, kRexR = 4;
  // The form with a register is another instruction; an address's extension is not of the opcode.
  if (opcode == 0x01 && reg == 3 && mod_rm >> 6 != 3)
    return FoundPrivileged{PrivilegedInstruction::load_idt};
  // Always the form with a register, whatever its mode bits say. REX.R makes it CR8.
  if (opcode == 0x22 && reg == 0 && (rex & kRexR) == 0)
    return FoundPrivileged{PrivilegedInstruction::write_cr0,
                           static_cast<std::uint8_t>((mod_rm & 7) | ((rex & kRexB) != 0 ? 8 : 0))};
  return std::nullopt;
}

}  // namespace glasshook::hypervisor::qemu
