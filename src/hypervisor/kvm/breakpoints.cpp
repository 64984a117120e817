#include "hypervisor/kvm/breakpoints.h"

namespace glasshook::hypervisor::kvm {
namespace {

/// DR7 (Intel SDM vol. 3B, 17.2.4): local and global enable of register n, condition and length in
/// four bits from 16 + 4n on (all zero: execution), and bits that are on anyway: 10, and GE.
constexpr std::uint64_t kDr7Always = 1 << 10 | 1 << 9;
constexpr std::uint64_t enable_bits(std::size_t n) { return std::uint64_t{3} << 2 * n; }
constexpr std::uint64_t global_enable(std::size_t n) { return std::uint64_t{2} << 2 * n; }
constexpr std::uint64_t condition_bits(std::size_t n) { return std::uint64_t{0xf} << (16 + 4 * n); }

}  // namespace

std::uint8_t registers_taken(const kvm_guest_debug& theirs) {
  constexpr std::uint32_t kUsesThem = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  if ((theirs.control & kUsesThem) != kUsesThem) return 0;
  std::uint8_t taken = 0;
  for (std::size_t n = 0; n < kDebugRegisters; ++n)
    if (theirs.arch.debugreg[7] & enable_bits(n)) taken |= static_cast<std::uint8_t>(1 << n);
  return taken;
}

bool uses_instructions(const kvm_guest_debug& theirs) {
  constexpr std::uint32_t kUsesThem = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
  return (theirs.control & kUsesThem) == kUsesThem;
}

GuestDebug merge(const kvm_guest_debug& theirs, std::span<const std::uint64_t> addresses,
                 bool instructions) {
  GuestDebug merged{.request = theirs, .armed = {.instructions = instructions}};
  if (instructions) merged.request.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
  if (addresses.empty()) return merged;
  const std::uint8_t taken = registers_taken(theirs);
  auto& registers = merged.request.arch.debugreg;
  if (taken == 0)
    for (auto& value : registers) value = 0;
  std::size_t n = 0;
  for (const std::uint64_t address : addresses) {
    while (n < kDebugRegisters && taken >> n & 1) ++n;
    if (n == kDebugRegisters) {
      ++merged.left_out;
      continue;
    }
    registers[n] = address;
    registers[7] = (registers[7] & ~condition_bits(n)) | global_enable(n) | kDr7Always;
    merged.armed.addresses[n] = address;
    merged.armed.ours |= static_cast<std::uint8_t>(1 << n);
    ++n;
  }
  if (merged.armed.ours != 0)
    merged.request.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  return merged;
}

}  // namespace glasshook::hypervisor::kvm
