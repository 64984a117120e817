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
#include "capture/directory_cache.h"
#include "capture/program.h"
#include "memory/guest_ram.h"
#include "memory/page_walk.h"

namespace glasshook::capture {

/// Translates and copies. Remembers the last few translations; make a new one for every run, since
/// the guest changes its page tables in between (what is kept in `known` is checked). Every byte is
/// copied once and only the copy is looked at.
class GuestReader {
 public:
  GuestReader(const GuestRam& ram, AddressSpace current, AddressSpace kernel,
              DirectoryCache& known) noexcept
      : ram_(ram), spaces_{current, kernel}, known_(known) {
    page_keys_.fill(Directory::kUnused);
    // In halves, of which the compiler makes no loops.
    std::fill_n(region_keys_.begin(), kCachedRegions / 2, Directory::kUnused);
    std::fill_n(region_keys_.begin() + kCachedRegions / 2, kCachedRegions / 2, Directory::kUnused);
    for (auto& directory : directories_) directory = &unused_;
  }

  /// `size` (1, 2, 4 or 8) bytes, zero-extended; false on a fault.
  [[nodiscard]] bool load(Gva from, std::size_t size, Space space, std::uint64_t& out) noexcept;

  /// Where `size` bytes lie in this process, when all of them are in a region in one piece that was
  /// looked at before: most of a kernel's memory lies in large pages. What reaches into the next
  /// region asks for that one's key, which never lies in this slot.
  [[nodiscard, gnu::always_inline]] bool find_in_region(Gva from, std::size_t size, Space space,
                                                        const std::byte*& host) const noexcept {
    if (region_keys_[region_slot(from)] != region_key(from + (size - 1), space)) return false;
    host = reinterpret_cast<const std::byte*>(from.value + region_distances_[region_slot(from)]);
    return true;
  }
  /// The same of a page that lies elsewhere.
  [[nodiscard, gnu::always_inline]] bool find_in_page(Gva from, std::size_t size, Space space,
                                                      const std::byte*& host) const noexcept {
    if (page_keys_[page_slot(from)] != page_key(from + (size - 1), space)) return false;
    host = reinterpret_cast<const std::byte*>(from.value + page_distances_[page_slot(from)]);
    return true;
  }

  /// The same of memory that is in no known region; nullptr on a fault, and when it does not lie in
  /// one region or page.
  [[nodiscard, gnu::always_inline]] const std::byte* find(Gva from, std::size_t size,
                                                          Space space) noexcept {
    const std::byte* host = nullptr;
    if (find_in_page(from, size, space, host)) return host;
    host = translate(from, space);
    if (from.page_offset() + size <= kPageSize) [[likely]]
      return host;
    return host != nullptr && find_in_region(from, size, space, host) ? host : nullptr;
  }

  /// Copies up to the first unreadable page; the number of bytes copied.
  [[nodiscard]] std::size_t copy(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// What a copy up to a terminator found.
  struct Text {
    std::size_t length = 0;   ///< bytes before the terminator, or all that were copied
    bool terminated = false;  ///< the terminator was seen
    bool faulted = false;     ///< ended by an unreadable page
  };

  /// What copy_text() may read and write.
  [[nodiscard]] static constexpr std::size_t text_extent(std::size_t max) {
    return max + 1 + kTextBlock;
  }
  /// Copies text and its NUL; the length of the text, more than `max` when that has no NUL. Both
  /// ends have text_extent(max) bytes.
  [[nodiscard]] static std::size_t copy_text(std::byte* to, const std::byte* from,
                                             std::size_t max) noexcept {
    std::size_t done = 0;
    do {
      if (const int nuls = copy_block(to + done, from + done); nuls != 0)
        return done + first_of(nuls);
      done += kTextBlock;
    } while (done <= max);
    return max + 1;
  }

  /// Copies until a NUL is in `out`, `out` is full or memory ends. Bytes of `out` after the text
  /// may be overwritten.
  [[nodiscard]] Text copy_string(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// The same for UTF-16: whole units, ended by a unit of zero. `length` is even.
  [[nodiscard]] Text copy_utf16(Gva from, Space space, std::span<std::byte> out) noexcept;

 private:
  static constexpr int kPageShift = 12, kRegionShift = 21, kDirectoryShift = 30, kEntryBits = 9;
  static constexpr std::size_t kCachedPages = 8;
  static constexpr std::size_t kCachedRegions = 16;
  static constexpr std::uint64_t kRegionSize = 512 * kPageSize;  ///< what one table maps
  static constexpr std::size_t kCachedDirectories = 4;
  static constexpr std::uint64_t kDirectorySize = 512 * kRegionSize;
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

  static constexpr std::size_t kTextBlock = sizeof(__m128i);

  /// A bit for each NUL that was copied. It is searched in the register that carries it over.
  static int copy_block(std::byte* to, const std::byte* from) noexcept {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block);
    return _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_setzero_si128()));
  }
  static std::size_t first_of(int nuls) noexcept {
    return static_cast<unsigned>(std::countr_zero(static_cast<unsigned>(nuls)));
  }

  /// Copies up to `size` bytes and stops after a NUL; the bytes before it, or `size`.
  static std::size_t copy_to_nul(std::byte* to, const std::byte* from, std::size_t size) noexcept {
    std::size_t done = 0;
    for (; done + kTextBlock <= size; done += kTextBlock)
      if (const int nuls = copy_block(to + done, from + done); nuls != 0)
        return done + first_of(nuls);
    for (; done < size; ++done) {
      to[done] = from[done];
      if (to[done] == std::byte{0}) break;
    }
    return done;
  }

  // Neighbours have different slots. Keys are the first address plus the space: nothing for the
  // kernel's, which is what nearly all loads are from.
  [[nodiscard]] static std::size_t page_slot(Gva address) noexcept {
    return address.value / kPageSize % kCachedPages;
  }
  [[nodiscard]] static std::size_t region_slot(Gva address) noexcept {
    return address.value / kRegionSize % kCachedRegions;
  }
  [[nodiscard]] static std::uint64_t space_bit(Space space) noexcept {
    return space == Space::kernel ? 0 : 1;
  }
  [[nodiscard]] static std::uint64_t page_key(Gva address, Space space) noexcept {
    return address.page().value + space_bit(space);
  }
  [[nodiscard]] static std::uint64_t region_key(Gva address, Space space) noexcept {
    return (address.value & ~(kRegionSize - 1)) + space_bit(space);
  }
  [[nodiscard]] static std::uint64_t directory_key(Gva address, Space space) noexcept {
    return (address.value & ~(kDirectorySize - 1)) + space_bit(space);
  }
  /// Other vCPUs write the tables meanwhile: each entry is loaded once, as a whole.
  [[nodiscard]] static PageEntry load_entry(const std::byte* table, Gva address,
                                            int shift) noexcept {
    const std::byte* at = table + entry_offset(address, shift);
    return {.bits = __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at), __ATOMIC_RELAXED),
            .shift = shift};
  }

  /// Where the byte lies in this process; the rest of its page follows. nullptr on a fault.
  [[nodiscard]] const std::byte* host_address(Gva address, Space space) noexcept {
    const std::byte* host = nullptr;
    if (find_in_region(address, 1, space, host) || find_in_page(address, 1, space, host))
      return host;
    return translate(address, space);
  }

  /// The same for what is not known yet, and will be. Most that a run reads lies in large pages,
  /// each in another, near to one another.
  [[nodiscard, gnu::always_inline]] const std::byte* translate(Gva address, Space space) noexcept {
    const Directory& directory = *directories_[directory_slot(address)];
    if (directory.key == directory_key(address, space) && directory.table != nullptr) [[likely]] {
      const PageEntry entry = load_entry(directory.table, address, kRegionShift);
      if (entry.present() && entry.is_leaf()) [[likely]]
        return translate_in(entry.map(Gva{0}), address, space);
    }
    return translate_anew(address, space);
  }
  [[nodiscard]] const std::byte* translate_anew(Gva address, Space space) noexcept;
  /// In a region in one piece that begins there.
  [[nodiscard]] const std::byte* translate_in(Gpa region, Gva address, Space space) noexcept {
    const std::uint64_t offset = address.value % kRegionSize;
    const std::byte* host = ram_.at(region, kRegionSize);
    // Where not all of it is RAM, each page is looked for.
    if (host == nullptr) [[unlikely]]
      return translate_page(region + (offset & ~kPageMask), address, space);
    const std::size_t slot = region_slot(address);
    region_keys_[slot] = region_key(address, space);
    region_distances_[slot] = reinterpret_cast<std::uintptr_t>(host) + offset - address.value;
    return host + offset;
  }
  /// In that page.
  [[nodiscard]] const std::byte* translate_page(Gpa page, Gva address, Space space) noexcept;
  /// The directory of that region, walked to or known; nullptr on a fault.
  [[nodiscard]] const Directory* find_directory(Gva address, Space space) noexcept;
  [[nodiscard]] bool walk(DirectoryCache::Walked& way, Gva address, Space space) const noexcept;

  [[nodiscard]] static std::size_t directory_slot(Gva address) noexcept {
    return address.value / kDirectorySize % kCachedDirectories;
  }
  [[nodiscard]] static std::uint64_t region_in_directory(Gva address) noexcept {
    return address.value % kDirectorySize & ~(kRegionSize - 1);
  }

  const GuestRam& ram_;
  std::array<AddressSpace, 2> spaces_;
  // Distances are from guest to host addresses, modulo 2^64.
  std::array<std::uint64_t, kCachedRegions> region_keys_;  ///< of those in one piece
  std::array<std::uintptr_t, kCachedRegions> region_distances_;
  std::array<std::uint64_t, kCachedPages> page_keys_;  ///< of those elsewhere
  std::array<std::uintptr_t, kCachedPages> page_distances_;
  std::array<const Directory*, kCachedDirectories> directories_;  ///< of those known to hold
  DirectoryCache& known_;
  static constexpr Directory unused_{};
};

}  // namespace glasshook::capture
