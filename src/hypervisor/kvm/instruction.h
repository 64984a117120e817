// The instructions that a breakpoint instruction may stand on: what they do is done in their
// stead, so that the byte need not be put back for the guest to go on. They are those that the
// functions of kernels and libraries usually begin and end with.
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
/// Registers are numbered as the processor does (Intel SDM vol. 2A, table 3-1): 0 is rax, 4 is rsp.
struct Instruction {
  // GCC 12 takes no braces for a struct with bit fields of a scoped enumeration.
  enum Kind : std::uint8_t {
    none,  ///< not one of them
    nop,   ///< of any length; endbr64
    push,  ///< of a 64-bit register
    call,  ///< direct
    jump,  ///< direct
    ret,   ///< near
    // With two operands, of which the first is written to, if any:
    move,               ///< to 64 bits, with zeros above what is moved
    sign_extend_to_32,  ///< with zeros above
    sign_extend_to_64,
    address,  ///< lea
    add,
    bit_or,
    bit_and,
    subtract,
    bit_xor,
    compare,
    test,
  };
  /// The first and the second operand.
  enum Operands : std::uint8_t {
    registers,  ///< `reg`, `base`
    register_immediate,
    register_memory,
    memory_register,
    memory_immediate,
  };
  static constexpr std::uint8_t kRip = 16;     ///< as a `base`: the next instruction's address
  static constexpr std::uint8_t kNoBase = 17;  ///< as a `base`
  static constexpr std::uint8_t kNoIndex = 4;  ///< as a `detail`

  Kind kind : 5 = Kind::none;
  Operands operands : 3 = Operands::registers;
  std::uint8_t length : 4 = 0;    ///< bytes
  std::uint8_t reg : 4 = 0;       ///< the register; of two the first
  std::uint8_t base : 5 = 0;      ///< the second register, or what an address begins with
  std::uint8_t width : 2 = 0;     ///< 1 << width bytes are read of each operand
  bool marks_target : 1 = false;  ///< endbr64, or the nop the kernel puts in its place
  /// memory_immediate: the immediate, of eight bits with sign; else, with memory: the index
  /// register, and << 4 the shift that scales it.
  std::uint8_t detail = 0;
  /// call, jump: distance; ret: bytes to take off the stack; else the address's displacement, or
  /// the immediate of register_immediate.
  std::int32_t operand = 0;
  bool operator==(const Instruction&) const = default;
};
static_assert(sizeof(Instruction) == 8);

/// The instruction that begins `code`, which may hold anything.
[[nodiscard]] Instruction decode(std::span<const std::byte> code);

/// What instructions read and write.
class GuestMemory {
 public:
  virtual ~GuestMemory() = default;
  /// Of 1, 4 or 8 bytes, with zeros above. False, with nothing done, where the processor would
  /// fault, or may.
  [[nodiscard]] virtual bool load(Gva from, std::size_t bytes, std::uint64_t& value) = 0;
  /// Of 8 bytes.
  [[nodiscard]] virtual bool store(Gva to, std::uint64_t value) = 0;
};

/// Does what the instruction at regs.rip does. False, with nothing changed, when the processor has
/// to do it itself: the memory is not there, or it would go where no code can be.
[[nodiscard]] bool emulate(Instruction instruction, bool five_level, kvm_regs& regs,
                           GuestMemory& memory);

}  // namespace glasshook::hypervisor::kvm
