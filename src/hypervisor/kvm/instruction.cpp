#include "hypervisor/kvm/instruction.h"

#include <array>
#include <cstring>

namespace glasshook::hypervisor::kvm {
namespace {

using Kind = Instruction::Kind;

/// Reads bytes one after the other; zero beyond the end, which `ok` tells.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> code)
      : code_(code.first(std::min(code.size(), kMaxInstructionBytes))) {}

  std::uint8_t next() {
    if (at_ < code_.size()) return static_cast<std::uint8_t>(code_[at_++]);
    ok_ = false;
    return 0;
  }
  void skip(std::size_t count) {
    ok_ &= count <= code_.size() - at_;
    if (ok_) at_ += count;
  }
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

/// Behind the opcode: addressing byte, its SIB byte and displacement (Intel SDM vol. 2A, 2.1.5).
void skip_operand(Bytes& bytes) {
  const std::uint8_t modrm = bytes.next();
  const int mod = modrm >> 6, rm = modrm & 7;
  if (mod == 3) return;
  int displacement = mod == 1 ? 1 : mod == 2 ? 4 : rm == 5 ? 4 : 0;
  if (rm == 4 && (bytes.next() & 7) == 5 && mod == 0) displacement = 4;
  bytes.skip(static_cast<std::size_t>(displacement));
}

/// Behind 0f.
Instruction decode_two_byte(Bytes& bytes, bool wide, bool repeated) {
  const std::uint8_t opcode = bytes.next();
  if (opcode == 0x1f && !repeated) {
    skip_operand(bytes);
    return {.kind = Kind::nop};
  }
  const bool marks = repeated && !wide && opcode == 0x1e && bytes.next() == 0xfa;
  return {.kind = marks ? Kind::nop : Kind::none, .marks_target = marks};
}

Instruction decode_opcode(Bytes& bytes, bool wide, bool repeated) {
  std::uint8_t opcode = bytes.next();
  if (opcode == 0x0f) return decode_two_byte(bytes, wide, repeated);
  if (opcode == 0xc3 && !wide) return {.kind = Kind::ret};  // also: repz ret
  if (opcode == 0x90 && !repeated) return {.kind = Kind::nop};
  if (wide || repeated) return {};
  std::uint8_t high = 0;
  if (opcode == 0x41) {  // REX.B: the upper eight registers
    high = 8;
    opcode = bytes.next();
    if (opcode >> 3 != 0x50 >> 3) return {};
  }
  if (opcode >> 3 == 0x50 >> 3)
    return {.kind = Kind::push, .reg = static_cast<std::uint8_t>(high | (opcode & 7))};
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

/// Registers in x86 encoding order.
constexpr std::array kRegisters{&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                                &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi,
                                &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                                &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

bool is_canonical(std::uint64_t address, bool five_level) {
  const auto sign = static_cast<std::int64_t>(address) >> (five_level ? 56 : 47);
  return sign == 0 || sign == -1;
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

bool emulate(Instruction instruction, bool five_level, kvm_regs& regs, GuestStack& stack) {
  constexpr std::uint64_t kWord = 8;
  const std::uint64_t next = regs.rip + instruction.length;
  const std::uint64_t target = next + static_cast<std::uint64_t>(std::int64_t{instruction.operand});
  std::uint64_t rip = next, rsp = regs.rsp;
  switch (instruction.kind) {
    case Kind::none:
      return false;
    case Kind::nop:
      break;
    case Kind::push:
    case Kind::call: {
      const bool calls = instruction.kind == Kind::call;
      rsp -= kWord;
      if (calls) rip = target;
      if (!is_canonical(rip, five_level)) return false;
      if (!stack.store(Gva{rsp}, calls ? next : regs.*kRegisters[instruction.reg & 15]))
        return false;
      break;
    }
    case Kind::jump:
      rip = target;
      break;
    case Kind::ret:
      if (!stack.load(Gva{rsp}, rip)) return false;
      rsp += kWord + static_cast<std::uint64_t>(instruction.operand);
      break;
  }
  if (!is_canonical(rip, five_level)) return false;
  regs.rip = rip;
  regs.rsp = rsp;
  return true;
}

}  // namespace glasshook::hypervisor::kvm
