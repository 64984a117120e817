// Guest addresses are their own types: they cannot be dereferenced or mixed up.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace glasshook {

inline constexpr std::uint64_t kPageSize = 4096;
inline constexpr std::uint64_t kPageMask = kPageSize - 1;

/// An address in guest physical memory.
struct Gpa {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const Gpa&) const = default;
  constexpr Gpa operator+(std::uint64_t bytes) const { return {value + bytes}; }
  /// Start of the 4 KiB page that holds this address.
  [[nodiscard]] constexpr Gpa page() const { return {value & ~kPageMask}; }
  [[nodiscard]] constexpr std::uint64_t page_offset() const { return value & kPageMask; }
};

/// An address in some guest virtual address space.
struct Gva {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const Gva&) const = default;
  constexpr Gva operator+(std::uint64_t bytes) const { return {value + bytes}; }
  constexpr Gva operator-(std::uint64_t bytes) const { return {value - bytes}; }
  [[nodiscard]] constexpr Gva page() const { return {value & ~kPageMask}; }
  [[nodiscard]] constexpr std::uint64_t page_offset() const { return value & kPageMask; }
  [[nodiscard]] constexpr bool is_null() const { return value == 0; }
  /// True in the upper (kernel) half of the canonical address space.
  [[nodiscard]] constexpr bool is_kernel() const { return (value >> 63) != 0; }
};

/// A guest virtual address space: the page-table root and its depth.
struct AddressSpace {
  Gpa root;                 ///< CR3 without PCID and flag bits
  bool five_level = false;  ///< CR4.LA57

  constexpr auto operator<=>(const AddressSpace&) const = default;
};

/// CR3 bits that address the root table (Intel SDM vol. 3A, 4.5): PCID and bit 63 are cut off.
inline constexpr std::uint64_t kCr3RootMask = 0x000f'ffff'ffff'f000;
/// Linux page-table isolation keeps the user half one page above the kernel half
/// (arch/x86/mm/pti.c).
inline constexpr std::uint64_t kPtiUserBit = 0x1000;

}  // namespace glasshook

template <>
struct std::hash<glasshook::Gpa> {
  std::size_t operator()(glasshook::Gpa a) const noexcept {
    return std::hash<std::uint64_t>{}(a.value);
  }
};
template <>
struct std::hash<glasshook::Gva> {
  std::size_t operator()(glasshook::Gva a) const noexcept {
    return std::hash<std::uint64_t>{}(a.value);
  }
};
