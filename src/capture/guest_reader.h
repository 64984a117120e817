// Reads of guest virtual memory for one run of a capture program.
#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/guest_address.h"
#include "capture/program.h"
#include "memory/guest_ram.h"
#include "memory/page_walk.h"

namespace glasshook::capture {

/// Translates and copies. Remembers the last few translations; make a new one for every run, since
/// the guest changes its page tables in between. Every byte is copied once and only the copy is
/// looked at.
class GuestReader {
 public:
  GuestReader(const GuestRam& ram, AddressSpace current, AddressSpace kernel) noexcept
      : ram_(ram), spaces_{current, kernel} {
    for (auto& keys : keys_) keys.fill(kUnused);
    for (auto& regions : regions_)
      for (Region& region : regions) region.begin = kUnused;
    for (Directory& directory : directories_) directory.key = kUnused;
  }

  /// `size` (1, 2, 4 or 8) bytes, zero-extended; false on a fault.
  [[nodiscard]] bool load(Gva from, std::size_t size, Space space, std::uint64_t& out) noexcept {
    out = 0;
    if (from.page_offset() + size > kPageSize)
      return copy(from, space, std::as_writable_bytes(std::span{&out, 1}).first(size)) == size;
    const std::byte* host = host_address(from, space);
    if (host == nullptr) return false;
    copy_small(&out, host, size);
    return true;
  }

  /// Eight bytes of a page that was looked at before; false when it was not, and then load() tells.
  [[nodiscard]] bool load_known_word(Gva from, Space space, std::uint64_t& out) const noexcept {
    const auto number = static_cast<std::size_t>(space);
    const std::size_t slot = slot_of(from);
    // A word that reaches into the next page asks for that page's key, which never lies in this
    // slot.
    if (keys_[number][slot] != (from + (sizeof out - 1)).page().value) return false;
    std::memcpy(&out, reinterpret_cast<const std::byte*>(from.value + distances_[number][slot]),
                sizeof out);
    return true;
  }

  /// Copies up to the first unreadable page; the number of bytes copied.
  [[nodiscard]] std::size_t copy(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// What a copy up to a terminator found.
  struct Text {
    std::size_t length = 0;   ///< bytes before the terminator, or all that were copied
    bool terminated = false;  ///< the terminator was seen
    bool faulted = false;     ///< ended by an unreadable page
  };

  /// Copies a string of at most `max` bytes and its NUL when it lies in a page that was looked at
  /// before. False when it does not, or has no NUL in that many bytes; then copy_string() tells.
  [[nodiscard]] bool copy_known_string(Gva from, Space space, std::byte* out, std::size_t max,
                                       std::size_t& length) const noexcept {
    const auto number = static_cast<std::size_t>(space);
    const std::size_t slot = slot_of(from);
    if (keys_[number][slot] != from.page().value) return false;
    const auto* host = reinterpret_cast<const std::byte*>(from.value + distances_[number][slot]);
    const std::size_t piece = std::min<std::size_t>(max + 1, left_in_page(from));
    length = copy_to_nul(out, host, piece);
    return length < piece;
  }

  /// Copies until a NUL is in `out`, `out` is full or memory ends. Bytes of `out` after the text
  /// may be overwritten.
  [[nodiscard]] Text copy_string(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// The same for UTF-16: whole units, ended by a unit of zero. `length` is even.
  [[nodiscard]] Text copy_utf16(Gva from, Space space, std::span<std::byte> out) noexcept;

 private:
  static constexpr std::size_t kCachedPages = 8;  ///< of each space
  static constexpr std::size_t kCachedRegions = 4;
  static constexpr std::uint64_t kRegionSize = 512 * kPageSize;  ///< what one table maps
  static constexpr std::size_t kCachedDirectories = 4;
  static constexpr std::uint64_t kDirectorySize = 512 * kRegionSize;
  static constexpr std::uint64_t kUnused = 2;  ///< no page's address

  /// The entries that map regions: a table of them, or a page that all these lie in.
  struct Directory {
    std::uint64_t key;       ///< the first address plus the space
    const std::byte* table;  ///< nullptr: they lie side by side
    Gpa first;               ///< then: of these
  };

  /// What is known about a run of addresses that one entry of a directory maps.
  struct Region {
    std::uint64_t begin;
    const std::byte* table;   ///< of its pages; nullptr when they lie side by side
    std::uintptr_t distance;  ///< then: from guest to host addresses, modulo 2^64; 0 when not all
                              ///< of them are RAM
    Gpa first;                ///< then

    [[nodiscard]] const std::byte* find(const GuestRam& ram, Gva page) const noexcept;
  };

  static void copy_small(std::uint64_t* to, const std::byte* from, std::size_t size) noexcept {
    switch (size) {
      case 8:
        std::memcpy(to, from, 8);
        break;
      case 4:
        std::memcpy(to, from, 4);
        break;
      case 2:
        std::memcpy(to, from, 2);
        break;
      default:
        std::memcpy(to, from, 1);
    }
  }

  [[nodiscard]] static std::size_t left_in_page(Gva address) noexcept {
    return kPageSize - address.page_offset();
  }

  /// Copies up to `size` bytes and stops after a NUL; the bytes before it, or `size`. Whole blocks
  /// are searched in the register that carries them over.
  static std::size_t copy_to_nul(std::byte* to, const std::byte* from, std::size_t size) noexcept {
    constexpr std::size_t kBlock = sizeof(__m128i);
    std::size_t done = 0;
    for (; done + kBlock <= size; done += kBlock) {
      const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + done), block);
      const int nuls = _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_setzero_si128()));
      if (nuls != 0) return done + static_cast<std::size_t>(std::countr_zero(unsigned(nuls)));
    }
    for (; done < size; ++done) {
      to[done] = from[done];
      if (to[done] == std::byte{0}) break;
    }
    return done;
  }

  /// Neighbouring pages have different slots.
  [[nodiscard]] static std::size_t slot_of(Gva address) noexcept {
    return address.value / kPageSize % kCachedPages;
  }

  /// Where the byte lies in this process; the rest of its page follows. nullptr on a fault.
  [[nodiscard]] const std::byte* host_address(Gva address, Space space) noexcept {
    const auto number = static_cast<std::size_t>(space);
    const std::size_t slot = slot_of(address);
    if (keys_[number][slot] != address.page().value && !translate(address.page(), space))
      return nullptr;
    return reinterpret_cast<const std::byte*>(address.value + distances_[number][slot]);
  }

  /// Remembers where the page is; false on a fault.
  [[nodiscard]] bool translate(Gva page, Space space) noexcept;
  /// Fills the region, or the directory, that a page lies in; false on a fault.
  [[nodiscard]] bool find_region(Gva page, std::size_t space, Region& region) noexcept;
  [[nodiscard]] bool find_directory(Gva page, std::size_t space,
                                    Directory& directory) const noexcept;

  const GuestRam& ram_;
  std::array<AddressSpace, 2> spaces_;
  std::array<std::array<std::uint64_t, kCachedPages>, 2> keys_;  ///< addresses of pages
  /// From guest to host addresses, modulo 2^64.
  std::array<std::array<std::uintptr_t, kCachedPages>, 2> distances_;
  std::array<std::array<Region, kCachedRegions>, 2> regions_;
  std::array<Directory, kCachedDirectories> directories_;
};

}  // namespace glasshook::capture
