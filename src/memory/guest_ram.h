// Guest RAM mapped into this process: the fast form of PhysicalMemory used inside a probe.
#pragma once

#include <array>
#include <cstring>

#include "memory/physical_memory.h"

namespace glasshook {

/// One piece of RAM: guest physical [begin, begin+size) is host memory [host, host+size).
struct RamSegment {
  Gpa begin;
  std::uint64_t size = 0;
  const std::byte* host = nullptr;

  /// Host address of [from, from+bytes) when all of it lies here, else nullptr.
  [[nodiscard]] const std::byte* at(Gpa from, std::uint64_t bytes) const noexcept {
    const std::uint64_t offset = from.value - begin.value;  // huge for what lies before
    return offset < size && bytes <= size - offset ? host + offset : nullptr;
  }
};

/// A few mapped segments (a PC has two: below and above the PCI hole). Holds no ownership: the
/// mapping outlives this object. Lookups neither lock nor allocate.
class GuestRam {
 public:
  static constexpr std::size_t kMaxSegments = 8;

  /// Adds a segment; false when the table is full or the segment is empty.
  bool add(RamSegment segment) noexcept {
    if (count_ == kMaxSegments || segment.size == 0 || segment.host == nullptr) return false;
    std::size_t place = count_++;  // the largest first: nearly all lookups end there
    for (; place > 0 && segments_[place - 1].size < segment.size; --place)
      segments_[place] = segments_[place - 1];
    segments_[place] = segment;
    return true;
  }

  /// Host address of [from, from+size) when it lies in one segment, else nullptr.
  [[nodiscard]] const std::byte* at(Gpa from, std::uint64_t size) const noexcept {
    if (const std::byte* host = segments_[0].at(from, size)) [[likely]]
      return host;
    for (std::size_t i = 1; i < count_; ++i)
      if (const std::byte* host = segments_[i].at(from, size)) return host;
    return nullptr;
  }

  /// The same of the page that begins there, when segments begin on page boundaries.
  [[nodiscard]] const std::byte* page_at(Gpa page) const noexcept {
    const RamSegment& largest = segments_[0];
    const std::uint64_t offset = page.value - largest.begin.value;  // whole pages, so below 2^64
    if (offset + kPageMask < largest.size) [[likely]]
      return largest.host + offset;
    return at(page, kPageSize);
  }

  /// Guest physical address of a host pointer into RAM; false when it points elsewhere.
  [[nodiscard]] bool to_gpa(const void* host, Gpa& out) const noexcept {
    const auto* p = static_cast<const std::byte*>(host);
    for (std::size_t i = 0; i < count_; ++i) {
      const RamSegment& s = segments_[i];
      if (p >= s.host && p < s.host + s.size) {
        out = s.begin + static_cast<std::uint64_t>(p - s.host);
        return true;
      }
    }
    return false;
  }

  /// In no order that means anything.
  [[nodiscard]] std::span<const RamSegment> segments() const noexcept {
    return {segments_.data(), count_};
  }

 private:
  std::array<RamSegment, kMaxSegments> segments_{};
  std::size_t count_ = 0;
};

}  // namespace glasshook
