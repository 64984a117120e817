#include "hypervisor/kvm/alu.h"

#include <bit>

namespace glasshook::hypervisor::kvm {

AluResult calculate(Instruction::Kind kind, unsigned width, std::uint64_t left,
                    std::uint64_t right) {
  using Kind = Instruction::Kind;
  constexpr std::uint64_t kCarry = 1, kParity = 1 << 2, kAdjust = 1 << 4, kZero = 1 << 6,
                          kSign = 1 << 7, kOverflow = 1 << 11;
  const unsigned bits = 8u << width;
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - bits);
  left &= mask;
  right &= mask;
  std::uint64_t value = 0, flags = 0, overflow = 0;
  switch (kind) {
    case Kind::add:
      value = (left + right) & mask;
      if (value < left) flags |= kCarry;
      flags |= (left ^ right ^ value) & kAdjust;
      overflow = (left ^ value) & (right ^ value);
      break;
    case Kind::subtract:
    case Kind::compare:
      value = (left - right) & mask;
      if (left < right) flags |= kCarry;
      flags |= (left ^ right ^ value) & kAdjust;
      overflow = (left ^ right) & (left ^ value);
      break;
    case Kind::bit_or:
      value = left | right;
      break;
    case Kind::bit_xor:
      value = left ^ right;
      break;
    default:  // bit_and, test
      value = left & right;
      break;
  }
  const auto top_bit = [&](std::uint64_t of) { return (of >> (bits - 1) & 1) != 0; };
  if (top_bit(overflow)) flags |= kOverflow;
  if (top_bit(value)) flags |= kSign;
  if (value == 0) flags |= kZero;
  if (std::popcount(value & 0xff) % 2 == 0) flags |= kParity;
  return {.value = value, .flags = flags};
}

}  // namespace glasshook::hypervisor::kvm
