// Reads of guest virtual memory for one run of a capture program.
#pragma once

#include <array>
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
      : ram_(ram), spaces_{current, kernel} {}

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

  /// Copies up to the first unreadable page; the number of bytes copied.
  [[nodiscard]] std::size_t copy(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// What a copy up to a terminator found.
  struct Text {
    std::size_t length = 0;   ///< bytes before the terminator, or all that were copied
    bool terminated = false;  ///< the terminator was seen
    bool faulted = false;     ///< ended by an unreadable page
  };

  /// Copies until a NUL is in `out`, `out` is full or memory ends. Bytes of `out` after the text
  /// may be overwritten.
  [[nodiscard]] Text copy_string(Gva from, Space space, std::span<std::byte> out) noexcept;

  /// The same for UTF-16: whole units, ended by a unit of zero. `length` is even.
  [[nodiscard]] Text copy_utf16(Gva from, Space space, std::span<std::byte> out) noexcept;

 private:
  static constexpr std::size_t kCachedPages = 16;

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

  /// Where the byte lies in this process; the rest of its page follows. nullptr on a fault.
  [[nodiscard]] const std::byte* host_address(Gva address, Space space) noexcept {
    const auto number = static_cast<std::uint64_t>(space);
    const std::uint64_t key = address.page().value | number << 1 | 1;
    const std::size_t slot = (address.value / kPageSize + number * kCachedPages / 2) % kCachedPages;
    if (keys_[slot] != key) {
      const std::byte* page = translate(address.page(), space);
      if (page == nullptr) return nullptr;
      keys_[slot] = key;
      pages_[slot] = page;
    }
    return pages_[slot] + address.page_offset();
  }

  [[nodiscard]] const std::byte* translate(Gva page, Space space) const noexcept;

  const GuestRam& ram_;
  std::array<AddressSpace, 2> spaces_;
  std::array<std::uint64_t, kCachedPages> keys_{};  ///< page address, space and a 1; 0: unused
  std::array<const std::byte*, kCachedPages> pages_;
};

}  // namespace glasshook::capture
