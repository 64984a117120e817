// The memory image of a PE module: its sections, and reads by relative virtual address (RVA).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "guest/elf/byte_source.h"
#include "guest/elf/image.h"

namespace glasshook::windows {

using elf::ByteSource;
using elf::Extent;
using elf::Layout;

/// A section of a PE module (IMAGE_SECTION_HEADER). Checked to lie within the image.
struct Section {
  std::string name;        ///< raw bytes, at most eight
  std::uint64_t rva = 0;   ///< first address
  std::uint64_t size = 0;  ///< bytes in memory
  std::uint64_t file_offset = 0;
  std::uint64_t file_size = 0;  ///< bytes of it that the file holds; at most `size`
  bool readable = false, writable = false, executable = false;

  [[nodiscard]] Extent extent() const { return {rva, rva + size}; }
};

/// Reads a module by RVA. With Layout::memory, offset 0 of the source is the module's base.
class Image {
 public:
  Image(std::shared_ptr<const ByteSource> source, Layout layout)
      : source_(std::move(source)), layout_(layout) {}

  void set_size(std::uint64_t image_bytes, std::uint64_t header_bytes) {
    size_ = image_bytes;
    header_bytes_ = header_bytes;
  }
  void add(Section section) { sections_.push_back(std::move(section)); }

  [[nodiscard]] const ByteSource& source() const { return *source_; }
  [[nodiscard]] Layout layout() const { return layout_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::vector<Section>& sections() const { return sections_; }

  [[nodiscard]] const Section* section_at(std::uint64_t rva) const {
    for (const Section& section : sections_)
      if (section.extent().contains(rva)) return &section;
    return nullptr;
  }

  /// Where the file holds the byte at an RVA; empty for bytes that are only in memory.
  [[nodiscard]] std::optional<std::uint64_t> file_offset(std::uint64_t rva) const {
    if (rva < header_bytes_) return rva;
    const Section* section = section_at(rva);
    if (section == nullptr || rva - section->rva >= section->file_size) return std::nullopt;
    return section->file_offset + (rva - section->rva);
  }

  /// False when a byte is outside the section of the first one, or missing.
  [[nodiscard]] bool read(std::uint64_t rva, std::span<std::byte> out) const {
    if (out.empty()) return true;
    if (out.size() > bytes_from(rva)) return false;
    return source_->read(layout_ == Layout::memory ? rva : *file_offset(rva), out);
  }

  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> read_value(std::uint64_t rva) const {
    T value;
    if (!read(rva, std::as_writable_bytes(std::span{&value, 1}))) return std::nullopt;
    return value;
  }

  /// The bytes up to a NUL; empty when it is missing or further away than `most`.
  [[nodiscard]] std::optional<std::string> read_string(std::uint64_t rva, std::size_t most) const {
    std::string text;
    char piece[64];
    while (text.size() < most) {
      const std::uint64_t at = rva + text.size();
      const std::uint64_t to_page_end = 4096 - at % 4096;
      const std::size_t want =
          std::min<std::uint64_t>({sizeof piece, most - text.size(), to_page_end, bytes_from(at)});
      if (want == 0 || !read(at, std::as_writable_bytes(std::span{piece, want})))
        return std::nullopt;
      const std::size_t length = ::strnlen(piece, want);
      text.append(piece, length);
      if (length < want) return text;
    }
    return std::nullopt;
  }

 private:
  /// How many bytes can be read in a row from an RVA on.
  [[nodiscard]] std::uint64_t bytes_from(std::uint64_t rva) const {
    if (rva < header_bytes_) return header_bytes_ - rva;
    const Section* section = section_at(rva);
    if (section == nullptr) return 0;
    const std::uint64_t offset = rva - section->rva;
    const std::uint64_t end = layout_ == Layout::memory ? section->size : section->file_size;
    return offset < end ? end - offset : 0;
  }

  std::shared_ptr<const ByteSource> source_;
  Layout layout_;
  std::vector<Section> sections_;
  std::uint64_t size_ = 0;
  std::uint64_t header_bytes_ = 0;
};

}  // namespace glasshook::windows
