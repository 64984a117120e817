// x86-64 page-table walks (Intel SDM vol. 3A, 4.5), 4 and 5 levels, all page sizes.
#pragma once

#include <cstdint>
#include <optional>

#include "base/guest_address.h"

namespace glasshook {

/// Where a virtual address lies in physical memory.
struct Translation {
  Gpa gpa;                      ///< of the address itself
  std::uint64_t page_size = 0;  ///< 4 KiB, 2 MiB or 1 GiB
  bool writable = false;
  bool executable = false;
  bool user = false;
};

/// An entry of a page table, whose entries are told apart by the address bits from `shift` on: 48,
/// 39, 30, 21 or 12.
struct PageEntry {
  std::uint64_t bits = 0;
  int shift = 0;

  [[nodiscard]] constexpr bool present() const { return (bits & 1) != 0; }
  [[nodiscard]] constexpr bool writable() const { return (bits & 2) != 0; }
  [[nodiscard]] constexpr bool user() const { return (bits & 4) != 0; }
  [[nodiscard]] constexpr bool executable() const { return (bits & 1ull << 63) == 0; }
  /// True when it maps a page; else it leads to the next table.
  [[nodiscard]] constexpr bool is_leaf() const {
    constexpr std::uint64_t kLarge = 0x80;
    return shift == 12 || ((bits & kLarge) != 0 && shift <= 30);
  }
  /// Where that table begins.
  [[nodiscard]] constexpr Gpa table() const { return Gpa{bits & kCr3RootMask}; }
  /// What the leaf makes of `address`.
  [[nodiscard]] constexpr Gpa map(Gva address) const {
    const std::uint64_t in_page = (1ull << shift) - 1;
    return Gpa{(bits & kCr3RootMask & ~in_page) | (address.value & in_page)};
  }
};

/// The lowest bit that tells the entries of the root table apart.
[[nodiscard]] constexpr int root_shift(AddressSpace space) { return space.five_level ? 48 : 39; }

[[nodiscard]] constexpr bool is_canonical(AddressSpace space, Gva address) {
  const auto value = static_cast<std::int64_t>(address.value);
  const std::int64_t sign = space.five_level ? value >> 56 : value >> 47;
  return sign == 0 || sign == -1;
}

/// Where the entry for `address` is, in bytes from the beginning of its table.
[[nodiscard]] constexpr std::uint64_t entry_offset(Gva address, int shift) {
  return (address.value >> shift & 511) * 8;
}

/// Walks the tables of `space`. `read_entry(Gpa, uint64_t&) -> bool` reads one entry. Empty when
/// the address is not canonical, not present, or a table lies outside RAM. At most five reads
/// whatever the guest has put there.
template <class ReadEntry>
[[nodiscard]] constexpr std::optional<Translation> walk_page_tables(AddressSpace space, Gva address,
                                                                    ReadEntry&& read_entry) {
  if (!is_canonical(space, address)) return std::nullopt;
  Translation result{.gpa = {}, .page_size = 0, .writable = true, .executable = true, .user = true};
  Gpa table{space.root.value & kCr3RootMask};
  for (int shift = root_shift(space); shift >= 12; shift -= 9) {
    PageEntry entry{.bits = 0, .shift = shift};
    if (!read_entry(table + entry_offset(address, shift), entry.bits) || !entry.present())
      return std::nullopt;
    result.writable &= entry.writable();
    result.user &= entry.user();
    result.executable &= entry.executable();
    if (entry.is_leaf()) {
      result.page_size = 1ull << shift;
      result.gpa = entry.map(address);
      return result;
    }
    table = entry.table();
  }
  return std::nullopt;
}

}  // namespace glasshook
