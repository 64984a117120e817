// The little of an x86-64 instruction that flow analysis looks at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace glasshook::elf {

enum class Flow : std::uint8_t {
  next,           ///< runs on
  call,           ///< runs on, unless it is the last of its function
  stop,           ///< ret, hlt, ud2: never runs on
  padding,        ///< nop, int3, endbr64: between functions, or harmless
  jump,           ///< jmp to `target`
  branch,         ///< jcc to `target`, or on
  slot_jump,      ///< jmp through the pointer at `target`
  indirect_jump,  ///< jmp through a register
};

struct FlowInstruction {
  Flow flow = Flow::next;
  std::uint8_t length = 0;
  std::uint64_t target = 0;
  bool returns = false;        ///< ret
  bool takes_address = false;  ///< lea reg, [rip + d]: `target` is the address taken
};

/// Decodes the instruction that begins `bytes`, which lie at `address`. Empty when they are none.
[[nodiscard]] std::optional<FlowInstruction> decode_flow(std::span<const std::byte> bytes,
                                                         std::uint64_t address);

}  // namespace glasshook::elf
