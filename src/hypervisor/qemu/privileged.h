// Privileged instructions that can be hooked, told by their bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "hypervisor/hypervisor.h"

namespace glasshook::hypervisor::qemu {

constexpr std::size_t kMaxInstructionBytes = 15;

struct FoundPrivileged {
  PrivilegedInstruction instruction;
  std::uint8_t source = 0;  ///< write_cr0: the general register it reads, as CpuState numbers them
};

/// Before the opcode in 64-bit mode (Intel SDM volume 2, 2.1.1 and 2.2.1).
[[nodiscard]] constexpr bool is_legacy_prefix(std::uint8_t byte) {
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
}
[[nodiscard]] constexpr bool is_rex(std::uint8_t byte) { return (byte & 0xf0) == 0x40; }

/// `code` is one instruction in 64-bit mode, from its first prefix on (Intel SDM volume 2: WRMSR,
/// LGDT/LIDT, MOV to control registers).
[[nodiscard]] constexpr std::optional<FoundPrivileged> find_privileged(
    std::span<const std::uint8_t> code) {
  std::size_t i = 0;
  while (i < code.size() && is_legacy_prefix(code[i])) ++i;
  std::uint8_t rex = 0;
  if (i < code.size() && is_rex(code[i])) rex = code[i++];
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

/// REX.W IRET: how the kernel returns from interrupts. `code` is one instruction.
[[nodiscard]] constexpr bool is_iretq(std::span<const std::uint8_t> code) {
  return code.size() == 2 && code[0] == 0x48 && code[1] == 0xcf;
}

/// No instruction that begins at this offset of `bytes` or behind it, and ends among them, is one
/// of the above, wherever instructions begin. Those before it need not be either.
[[nodiscard]] inline std::size_t end_of_privileged(std::span<const std::uint8_t> bytes) {
  // Through memrchr(), since some hundreds of pages are looked through when a monitor attaches.
  const auto end_of = [bytes](std::uint8_t byte, auto&& is_it) -> std::size_t {
    std::size_t left = bytes.size();
    while (left > 0) {
      const void* found = memrchr(bytes.data(), byte, left);
      if (found == nullptr) break;
      left = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes.data());
      if (is_it(left)) return left + 1;
    }
    return 0;
  };
  return std::max(
      end_of(0xcf, [&](std::size_t i) { return i > 0 && is_iretq(bytes.subspan(i - 1, 2)); }),
      end_of(0x0f, [&](std::size_t i) { return find_privileged(bytes.subspan(i)).has_value(); }));
}

}  // namespace glasshook::hypervisor::qemu
