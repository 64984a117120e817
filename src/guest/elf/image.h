// The memory image of an ELF module: its segments, and reads by virtual address.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "guest/elf/byte_source.h"

namespace glasshook::elf {

/// Addresses [begin, end).
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  [[nodiscard]] bool contains(std::uint64_t address) const {
    return address >= begin && address < end;
  }
  bool operator==(const Extent&) const = default;
};

/// How a ByteSource holds a module.
enum class Layout : std::uint8_t {
  file,    ///< offsets are file offsets
  memory,  ///< offset 0 is the first page of the lowest loaded segment
};

/// A PT_LOAD segment. Addresses are the module's own (not relocated).
struct Segment {
  std::uint64_t address = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t file_size = 0;
  std::uint64_t memory_size = 0;
  bool readable = false, writable = false, executable = false;

  /// Segments are checked not to wrap around.
  [[nodiscard]] Extent extent() const { return {address, address + memory_size}; }
};

/// Reads a module by its own virtual addresses.
class Image {
 public:
  Image(std::shared_ptr<const ByteSource> source, Layout layout)
      : source_(std::move(source)), layout_(layout) {}

  void add(const Segment& segment) {
    segments_.push_back(segment);
    bounds_.begin =
        segments_.size() == 1 ? segment.address : std::min(bounds_.begin, segment.address);
    bounds_.end = std::max(bounds_.end, segment.extent().end);
  }
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  /// From the lowest to the highest loaded address.
  [[nodiscard]] Extent bounds() const { return bounds_; }
  [[nodiscard]] const ByteSource& source() const { return *source_; }
  [[nodiscard]] Layout layout() const { return layout_; }

  [[nodiscard]] const Segment* segment_at(std::uint64_t address) const {
    for (const Segment& s : segments_)
      if (s.extent().contains(address)) return &s;
    return nullptr;
  }

  /// False when a byte lies outside the segment of the first one, or is missing. A file has no
  /// bytes for the zeros behind a segment's data.
  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) const {
    const Segment* segment = segment_at(address);
    if (!segment) return false;
    const std::uint64_t offset = address - segment->address;
    const std::uint64_t size = layout_ == Layout::file ? segment->file_size : segment->memory_size;
    if (offset > size || out.size() > size - offset) return false;
    return source_->read(layout_ == Layout::file ? segment->file_offset + offset
                                                 : address - (bounds_.begin & ~std::uint64_t{4095}),
                         out);
  }

  template <class T>
  [[nodiscard]] std::optional<T> read_value(std::uint64_t address) const {
    T value;
    if (!read(address, std::as_writable_bytes(std::span{&value, 1}))) return std::nullopt;
    return value;
  }

 private:
  std::shared_ptr<const ByteSource> source_;
  Layout layout_;
  std::vector<Segment> segments_;
  Extent bounds_;
};

}  // namespace glasshook::elf
