#include "hypervisor/kvm/instruction.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/kvm/alu.h"

namespace glasshook::hypervisor::kvm {
namespace {

using Kind = Instruction::Kind;
using Operands = Instruction::Operands;

/// Widths as Instruction has them.
constexpr std::uint8_t kByte = 0, kWord = 1, kDword = 2, kQword = 3;

/// Reads bytes one after the other; zero beyond the end, which `ok` tells.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> code)
      : code_(code.first(std::min(code.size(), kMaxInstructionBytes))) {}

  std::uint8_t next() { return value<std::uint8_t>(); }
  template <class T>
  T value() {
    T out{};
    if (code_.size() - at_ < sizeof out) {
      ok_ = false;
      return out;
    }
    std::memcpy(&out, code_.data() + at_, sizeof out);
    at_ += sizeof out;
    return out;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::uint8_t length() const { return static_cast<std::uint8_t>(at_); }

 private:
  std::span<const std::byte> code_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

/// An opcode's last byte and the REX prefix before it, zero without (Intel SDM vol. 2A, 2.2.1).
struct Opcode {
  std::uint8_t byte = 0;
  std::uint8_t rex = 0;

  [[nodiscard]] std::uint8_t full_width() const { return (rex & 8) != 0 ? kQword : kDword; }
  /// Most opcodes come in pairs, of which the even one is of bytes.
  [[nodiscard]] std::uint8_t width() const { return (byte & 1) != 0 ? full_width() : kByte; }
};

/// What the addressing byte names, and the SIB byte and displacement behind it (Intel SDM vol. 2A,
/// 2.1.5 and 2.2.1.2 to 2.2.1.6).
struct ModRm {
  bool in_memory = false;
  std::uint8_t reg = 0;   ///< a register, or in its low three bits the rest of the opcode
  std::uint8_t base = 0;  ///< the other register, or as Instruction has it
  std::uint8_t index = Instruction::kNoIndex;  ///< as Instruction::detail
  std::int32_t displacement = 0;
};

/// A displacement or an immediate, neither of which has 64 bits here.
std::int32_t read_signed(Bytes& bytes, std::uint8_t width) {
  return width == kByte ? bytes.value<std::int8_t>() : bytes.value<std::int32_t>();
}

ModRm read_modrm(Bytes& bytes, std::uint8_t rex) {
  const std::uint8_t modrm = bytes.next();
  const int mod = modrm >> 6;
  const auto extended = [&](int low, int rex_bit) {
    return static_cast<std::uint8_t>((low & 7) | ((rex >> rex_bit & 1) << 3));
  };
  ModRm out{.in_memory = mod != 3, .reg = extended(modrm >> 3, 2), .base = extended(modrm, 0)};
  if (!out.in_memory) return out;
  bool far = mod == 2;
  if ((modrm & 7) == 4) {
    const std::uint8_t sib = bytes.next();
    out.base = extended(sib, 0);
    out.index = static_cast<std::uint8_t>(extended(sib >> 3, 1) | (sib >> 6 << 4));
    if ((out.index & 15) == Instruction::kNoIndex) out.index = Instruction::kNoIndex;
    if (mod == 0 && (sib & 7) == 5) {
      out.base = Instruction::kNoBase;
      far = true;
    }
  } else if (mod == 0 && (modrm & 7) == 5) {
    out.base = Instruction::kRip;
    far = true;
  }
  if (far || mod == 1) out.displacement = read_signed(bytes, far ? kDword : kByte);
  return out;
}

/// Without a REX prefix these are ah, ch, dh and bh.
bool is_high_byte(std::uint8_t reg, std::uint8_t rex) { return rex == 0 && reg >= 4; }

Instruction with_modrm(Kind kind, std::uint8_t width, const ModRm& modrm, bool register_first) {
  if (!modrm.in_memory)
    return {.kind = kind,
            .operands = Operands::registers,
            .reg = register_first ? modrm.reg : modrm.base,
            .base = register_first ? modrm.base : modrm.reg,
            .width = width};
  return {.kind = kind,
          .operands = register_first ? Operands::register_memory : Operands::memory_register,
          .reg = modrm.reg,
          .base = modrm.base,
          .width = width,
          .detail = modrm.index,
          .operand = modrm.displacement};
}

bool only_sets_flags(Kind kind) { return kind == Kind::compare || kind == Kind::test; }

/// What reads and writes memory is left to the processor, and only eight bytes are stored.
bool may_begin_with_memory(Kind kind, std::uint8_t width) {
  return only_sets_flags(kind) || (kind == Kind::move && width == kQword);
}

Instruction with_immediate(Kind kind, Opcode opcode, const ModRm& modrm, std::int32_t immediate) {
  const std::uint8_t width = opcode.width();
  if (!modrm.in_memory) {
    if (width == kByte && is_high_byte(modrm.base, opcode.rex)) return {};
    return {.kind = kind,
            .operands = Operands::register_immediate,
            .reg = modrm.base,
            .width = width,
            .operand = immediate};
  }
  const auto low = static_cast<std::int8_t>(immediate);
  const bool fits = modrm.index == Instruction::kNoIndex && low == immediate;
  if (!fits || !may_begin_with_memory(kind, width)) return {};
  return {.kind = kind,
          .operands = Operands::memory_immediate,
          .base = modrm.base,
          .width = width,
          .detail = static_cast<std::uint8_t>(low),
          .operand = modrm.displacement};
}

/// As the opcodes 00 to 3f are ordered, and what 80 to 83 have in their addressing byte (Intel SDM
/// vol. 2D, table A-6, group 1). Not adc and sbb.
constexpr std::array kAlu{Kind::add,     Kind::bit_or,   Kind::none,    Kind::none,
                          Kind::bit_and, Kind::subtract, Kind::bit_xor, Kind::compare};

/// Two operands of which one may be memory.
Instruction decode_pair(Bytes& bytes, Kind kind, Opcode opcode, bool register_first) {
  const ModRm modrm = read_modrm(bytes, opcode.rex);
  const std::uint8_t width = opcode.width();
  if (width == kByte && (is_high_byte(modrm.reg, opcode.rex) ||
                         (!modrm.in_memory && is_high_byte(modrm.base, opcode.rex))))
    return {};
  if (modrm.in_memory && !register_first && !may_begin_with_memory(kind, width)) return {};
  return with_modrm(kind, width, modrm, register_first);
}

/// 00 to 3f.
Instruction decode_alu(Bytes& bytes, Opcode opcode) {
  const Kind kind = kAlu[opcode.byte >> 3 & 7];
  const int form = opcode.byte & 7;
  if (kind == Kind::none || form > 5) return {};
  if (form < 4) return decode_pair(bytes, kind, opcode, (form & 2) != 0);
  constexpr ModRm kAccumulator{};
  return with_immediate(kind, opcode, kAccumulator, read_signed(bytes, opcode.width()));
}

/// movzx and movsx, behind 0f.
Instruction decode_extension(Bytes& bytes, Opcode opcode) {
  const bool with_sign = (opcode.byte & 8) != 0;
  const std::uint8_t width = (opcode.byte & 1) != 0 ? kWord : kByte;
  const ModRm modrm = read_modrm(bytes, opcode.rex);
  // Two bytes are not loaded.
  if (modrm.in_memory ? width == kWord : width == kByte && is_high_byte(modrm.base, opcode.rex))
    return {};
  const Kind signed_kind =
      opcode.full_width() == kQword ? Kind::sign_extend_to_64 : Kind::sign_extend_to_32;
  return with_modrm(with_sign ? signed_kind : Kind::move, width, modrm, true);
}

/// Not behind 0f, and with no prefix but REX.
Instruction decode_operation(Bytes& bytes, Opcode opcode) {
  if (opcode.byte < 0x40) return decode_alu(bytes, opcode);
  switch (opcode.byte) {
    case 0x63:  // movsxd; without REX.W the manual advises against it
      if (opcode.full_width() != kQword) return {};
      return with_modrm(Kind::sign_extend_to_64, kDword, read_modrm(bytes, opcode.rex), true);
    case 0x80:
    case 0x81:
    case 0x83: {
      const ModRm modrm = read_modrm(bytes, opcode.rex);
      const Kind kind = kAlu[modrm.reg & 7];
      if (kind == Kind::none) return {};
      return with_immediate(kind, opcode, modrm,
                            read_signed(bytes, opcode.byte == 0x81 ? kDword : kByte));
    }
    case 0x84:
    case 0x85:
      return decode_pair(bytes, Kind::test, opcode, false);
    case 0x89:
    case 0x8b:
      return decode_pair(bytes, Kind::move, opcode, opcode.byte == 0x8b);
    case 0x8d: {
      const ModRm modrm = read_modrm(bytes, opcode.rex);
      if (!modrm.in_memory) return {};
      return with_modrm(Kind::address, opcode.full_width(), modrm, true);
    }
    case 0xa8:
    case 0xa9:
      return with_immediate(Kind::test, opcode, ModRm{}, read_signed(bytes, opcode.width()));
    case 0xc7:
    case 0xf6:
    case 0xf7: {  // others have other bits in their addressing bytes
      const ModRm modrm = read_modrm(bytes, opcode.rex);
      if ((modrm.reg & 7) != 0) return {};
      return with_immediate(opcode.byte == 0xc7 ? Kind::move : Kind::test, opcode, modrm,
                            read_signed(bytes, opcode.width()));
    }
    default:
      return {};
  }
}

/// Behind 0f.
Instruction decode_two_byte(Bytes& bytes, std::uint8_t rex, bool wide, bool repeated) {
  const Opcode opcode{.byte = bytes.next(), .rex = rex};
  if (opcode.byte == 0x1f && rex == 0 && !repeated) {
    (void)read_modrm(bytes, rex);
    return {.kind = Kind::nop};
  }
  if ((opcode.byte & 0xf6) == 0xb6 && !wide && !repeated) return decode_extension(bytes, opcode);
  const bool marks = rex == 0 && repeated && !wide && opcode.byte == 0x1e && bytes.next() == 0xfa;
  return {.kind = marks ? Kind::nop : Kind::none, .marks_target = marks};
}

/// Calls, jumps and returns with operands.
Instruction decode_branch(Bytes& bytes, std::uint8_t opcode) {
  switch (opcode) {
    case 0xc2:
      return {.kind = Kind::ret, .operand = bytes.value<std::uint16_t>()};
    case 0xe8:
      return {.kind = Kind::call, .operand = bytes.value<std::int32_t>()};
    case 0xe9:
      return {.kind = Kind::jump, .operand = bytes.value<std::int32_t>()};
    case 0xeb:
      return {.kind = Kind::jump, .operand = bytes.value<std::int8_t>()};
    default:
      return {};
  }
}

Instruction decode_opcode(Bytes& bytes, bool wide, bool repeated) {
  Opcode opcode{.byte = bytes.next()};
  if (opcode.byte == 0xc3 && !wide) return {.kind = Kind::ret};  // also: repz ret
  if (opcode.byte == 0x90 && !repeated) return {.kind = Kind::nop};
  if (opcode.byte >> 4 == 4 && !wide && !repeated)
    opcode = {.byte = bytes.next(), .rex = opcode.byte};
  if (opcode.byte == 0x0f) return decode_two_byte(bytes, opcode.rex, wide, repeated);
  if (wide || repeated) return {};
  const auto reg = static_cast<std::uint8_t>((opcode.byte & 7) | (opcode.rex & 1) << 3);
  switch (opcode.byte >> 3) {
    case 0x50 >> 3:  // of REX only what names the upper eight registers
      if (opcode.rex != 0 && opcode.rex != 0x41) return {};
      return {.kind = Kind::push, .reg = reg};
    case 0xb8 >> 3:
      if (opcode.full_width() == kQword) return {};  // with eight bytes
      return {.kind = Kind::move,
              .operands = Operands::register_immediate,
              .reg = reg,
              .width = kDword,
              .operand = bytes.value<std::int32_t>()};
    default:
      break;
  }
  const Instruction branch = opcode.rex == 0 ? decode_branch(bytes, opcode.byte) : Instruction{};
  return branch.kind != Kind::none ? branch : decode_operation(bytes, opcode);
}

/// Registers in x86 encoding order.
constexpr std::array kRegisters{&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                                &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi,
                                &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                                &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

std::uint64_t sign_extended(std::int32_t value) {
  return static_cast<std::uint64_t>(std::int64_t{value});
}

std::uint64_t read_register(const kvm_regs& regs, unsigned reg) {
  return regs.*kRegisters[reg & 15];
}

/// Of 4 bytes the upper half becomes zero, of 1 byte the rest stays (Intel SDM vol. 1, 3.4.1.1).
void write_register(kvm_regs& regs, unsigned reg, unsigned width, std::uint64_t value) {
  auto& whole = regs.*kRegisters[reg & 15];
  if (width == kQword) whole = value;
  if (width == kDword) whole = static_cast<std::uint32_t>(value);
  if (width == kByte) whole = (whole & ~std::uint64_t{0xff}) | (value & 0xff);
}

bool is_canonical(std::uint64_t address, bool five_level) {
  const auto sign = static_cast<std::int64_t>(address) >> (five_level ? 56 : 47);
  return sign == 0 || sign == -1;
}

/// No byte of it is where no memory can be. What wraps around is left to the processor.
bool is_addressable(std::uint64_t address, std::size_t bytes, bool five_level) {
  const std::uint64_t last = address + bytes - 1;
  return last >= address && is_canonical(address, five_level) && is_canonical(last, five_level);
}

std::uint64_t address_of(const Instruction& instruction, const kvm_regs& regs) {
  std::uint64_t address = sign_extended(instruction.operand);
  if (instruction.base == Instruction::kRip)
    address += regs.rip + instruction.length;
  else if (instruction.base != Instruction::kNoBase)
    address += read_register(regs, instruction.base);
  if (instruction.operands != Operands::memory_immediate &&
      (instruction.detail & 15) != Instruction::kNoIndex)
    address += read_register(regs, instruction.detail) << (instruction.detail >> 4 & 3);
  return address;
}

struct Values {
  std::uint64_t first = 0, second = 0;
};

/// What the operands are, given what is in memory if one is there.
Values operand_values(const Instruction& instruction, const kvm_regs& regs, std::uint64_t memory) {
  const std::uint64_t reg = read_register(regs, instruction.reg);
  switch (instruction.operands) {
    case Operands::registers:
      return {.first = reg, .second = read_register(regs, instruction.base)};
    case Operands::register_immediate:
      return {.first = reg, .second = sign_extended(instruction.operand)};
    case Operands::register_memory:
      return {.first = reg, .second = memory};
    case Operands::memory_register:
      return {.first = memory, .second = reg};
    case Operands::memory_immediate:
      return {.first = memory,
              .second = sign_extended(static_cast<std::int8_t>(instruction.detail))};
  }
  return {};
}

/// The low 1 << width bytes, with zeros above or their sign.
std::uint64_t extended(std::uint64_t value, unsigned width, bool with_sign) {
  const unsigned above = 64 - (8u << width);
  const std::uint64_t shifted = value << above;
  return with_sign ? static_cast<std::uint64_t>(static_cast<std::int64_t>(shifted) >> above)
                   : shifted >> above;
}

/// The kinds that have two operands, all but the step to the next instruction.
bool operate(const Instruction& instruction, bool five_level, kvm_regs& regs, GuestMemory& memory) {
  const Kind kind = instruction.kind;
  const unsigned reg = instruction.reg, width = instruction.width;
  const std::size_t bytes = std::size_t{1} << width;
  const bool in_memory = instruction.operands != Operands::registers &&
                         instruction.operands != Operands::register_immediate;
  const std::uint64_t address = in_memory ? address_of(instruction, regs) : 0;
  if (kind == Kind::address) {
    write_register(regs, reg, width, address);
    return true;
  }
  if (in_memory && !is_addressable(address, bytes, five_level)) return false;
  const bool stores = kind == Kind::move && (instruction.operands == Operands::memory_register ||
                                             instruction.operands == Operands::memory_immediate);
  std::uint64_t loaded = 0;
  if (in_memory && !stores && !memory.load(Gva{address}, bytes, loaded)) return false;
  const auto [first, second] = operand_values(instruction, regs, loaded);
  if (stores) return memory.store(Gva{address}, second);
  switch (kind) {
    case Kind::move:
      write_register(regs, reg, kQword, extended(second, width, false));
      break;
    case Kind::sign_extend_to_32:
      write_register(regs, reg, kDword, extended(second, width, true));
      break;
    case Kind::sign_extend_to_64:
      write_register(regs, reg, kQword, extended(second, width, true));
      break;
    default: {
      const AluResult result = calculate(kind, width, first, second);
      if (!only_sets_flags(kind)) write_register(regs, reg, width, result.value);
      regs.rflags = (regs.rflags & ~kStatusFlags) | result.flags;
    }
  }
  return true;
}

}  // namespace

Instruction decode(std::span<const std::byte> code) {
  Bytes bytes(code);
  bool wide = false, repeated = false;
  Bytes ahead = bytes;
  for (std::uint8_t prefix = ahead.next(); prefix == 0x66 || prefix == 0xf3;
       prefix = ahead.next()) {
    (prefix == 0x66 ? wide : repeated) = true;
    bytes = ahead;
  }
  Instruction decoded = decode_opcode(bytes, wide, repeated);
  if (decoded.kind == Kind::none || !bytes.ok()) return {};
  decoded.length = bytes.length();
  // With CR4.CET off the kernel overwrites an endbr64 that nothing needs (asm/ibt.h,
  // gen_endbr_poison): nopw (%rax).
  constexpr std::array kPoison{std::byte{0x66}, std::byte{0x0f}, std::byte{0x1f}, std::byte{0}};
  if (decoded.length == kPoison.size() && std::memcmp(code.data(), kPoison.data(), 4) == 0)
    decoded.marks_target = true;
  return decoded;
}

bool emulate(Instruction instruction, bool five_level, kvm_regs& regs, GuestMemory& memory) {
  constexpr std::uint64_t kStackWord = 8;
  const std::uint64_t next = regs.rip + instruction.length;
  std::uint64_t rip = next, rsp = regs.rsp;
  switch (instruction.kind) {
    case Kind::none:
      return false;
    case Kind::nop:
      break;
    case Kind::push:
    case Kind::call: {
      const bool calls = instruction.kind == Kind::call;
      rsp -= kStackWord;
      if (calls) rip = next + sign_extended(instruction.operand);
      if (!is_canonical(rip, five_level) || !is_addressable(rsp, kStackWord, five_level))
        return false;
      if (!memory.store(Gva{rsp}, calls ? next : read_register(regs, instruction.reg)))
        return false;
      break;
    }
    case Kind::jump:
      rip = next + sign_extended(instruction.operand);
      break;
    case Kind::ret:
      if (!is_addressable(rsp, kStackWord, five_level)) return false;
      if (!memory.load(Gva{rsp}, kStackWord, rip)) return false;
      rsp += kStackWord + sign_extended(instruction.operand);
      break;
    default:
      if (!is_canonical(next, five_level)) return false;
      if (!operate(instruction, five_level, regs, memory)) return false;
      rsp = regs.rsp;
      break;
  }
  if (!is_canonical(rip, five_level)) return false;
  regs.rip = rip;
  regs.rsp = rsp;
  return true;
}

}  // namespace glasshook::hypervisor::kvm
