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

/// Walks the tables of `space`. `read_entry(Gpa) -> std::optional<uint64_t>` reads one table entry.
/// Empty when the address is not canonical, not present, or a table lies outside RAM. At most five
/// reads whatever the guest has put there.
template <class ReadEntry>
[[nodiscard]] constexpr std::optional<Translation> walk_page_tables(AddressSpace space, Gva address,
                                                                    ReadEntry&& read_entry) {
  constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kLarge = 0x80,
                          kNoExecute = 1ull << 63;
  const int top_bit = space.five_level ? 56 : 47;
  const auto sign = static_cast<std::int64_t>(address.value) >> top_bit;
  if (sign != 0 && sign != -1) return std::nullopt;

  Translation result{.gpa = {}, .page_size = 0, .writable = true, .executable = true, .user = true};
  std::uint64_t table = space.root.value & kCr3RootMask;
  for (int shift = space.five_level ? 48 : 39; shift >= 12; shift -= 9) {
    const std::optional<std::uint64_t> entry =
        read_entry(Gpa{table + ((address.value >> shift) & 511) * 8});
    if (!entry || !(*entry & kPresent)) return std::nullopt;
    result.writable &= (*entry & kWritable) != 0;
    result.user &= (*entry & kUser) != 0;
    result.executable &= (*entry & kNoExecute) == 0;
    const bool leaf = shift == 12 || ((*entry & kLarge) && shift <= 30);
    if (leaf) {
      result.page_size = 1ull << shift;
      const std::uint64_t in_page = result.page_size - 1;
      result.gpa = Gpa{(*entry & kCr3RootMask & ~in_page) | (address.value & in_page)};
      return result;
    }
    table = *entry & kCr3RootMask;
  }
  return std::nullopt;
}

}  // namespace glasshook
