// Builds a record in a caller's buffer, field by field, never beyond its end.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <span>

#include "capture/program.h"
#include "capture/record.h"

namespace glasshook::capture {

/// A field is opened, filled through data() up to room(), and closed. When the record has no place
/// for a field, open() says no and the record is marked kRecordTruncated.
class RecordWriter {
 public:
  /// `buffer` holds at least kMaxRecordBytes and is 8-aligned.
  explicit RecordWriter(std::span<std::byte> buffer) noexcept : buffer_(buffer.data()) {}

  [[nodiscard]] bool open(std::uint16_t id, FieldKind kind, std::size_t least_room = 0) noexcept {
    if (!has_place(least_room)) return false;
    id_ = id;
    kind_ = kind;
    field_flags_ = 0;
    return true;
  }

  /// A whole field of words.
  void add_words(std::uint16_t id, const std::uint64_t* words, std::size_t count) noexcept {
    const std::size_t bytes = count * sizeof *words;
    if (!has_place(bytes)) return;
    // Nearly always it is one. What compilers make of a copy of any number is slow to begin.
    if (count == 1)
      std::memcpy(data(), words, sizeof *words);
    else
      std::memmove(data(), words, bytes);
    add({.id = id, .kind = FieldKind::words, .length = static_cast<std::uint16_t>(bytes)}, bytes);
  }

  /// Where the open field's data goes, and how many bytes the record has left for it.
  [[nodiscard]] std::byte* data() const noexcept {
    return buffer_ + position_ + sizeof(FieldHeader);
  }
  [[nodiscard]] std::size_t room() const noexcept {
    return kMaxRecordBytes - position_ - sizeof(FieldHeader);
  }

  /// Adds FieldFlags to the open field.
  void flag_field(std::uint8_t flags) noexcept { field_flags_ |= flags; }
  /// Adds RecordFlags to the record.
  void flag_record(std::uint8_t flags) noexcept { flags_ |= flags; }

  /// Ends the open field with `length` bytes of data, at most min(room(), kMaxFieldBytes).
  void close(std::size_t length, std::uint8_t detail = 0) noexcept {
    const std::size_t padded = (length + 7) & ~std::size_t{7};
    if (const std::size_t used = length % 8; used != 0) clear_from(data() + padded - 8, used);
    add({.id = id_,
         .kind = kind_,
         .flags = field_flags_,
         .length = static_cast<std::uint16_t>(length),
         .detail = detail},
        padded);
  }

  /// Puts the header in front of the fields; the size of the record.
  std::uint32_t finish(const RecordHeader& header) noexcept {
    auto* record = ::new (buffer_) RecordHeader(header);
    record->size = static_cast<std::uint32_t>(position_);
    record->flags = static_cast<std::uint8_t>(header.flags | flags_);
    return record->size;
  }

 private:
  /// Whether the record takes one more field with that much data; marks it when not.
  [[nodiscard]] bool has_place(std::size_t bytes) noexcept {
    const bool has = fields_ != RecordView::kMaxFields &&
                     position_ + sizeof(FieldHeader) + bytes <= kMaxRecordBytes;
    if (!has) [[unlikely]]
      flags_ |= kRecordTruncated;
    return has;
  }
  /// A field whose `bytes` of data are there.
  [[gnu::always_inline]] void add(FieldHeader header, std::size_t bytes) noexcept {
    ::new (buffer_ + position_) FieldHeader(header);
    position_ += sizeof(FieldHeader) + bytes;
    ++fields_;
  }
  /// Zeroes the bytes of an 8-byte word behind the first `used`.
  static void clear_from(std::byte* word, std::size_t used) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, word, sizeof value);
    value &= (std::uint64_t{1} << (8 * used)) - 1;
    std::memcpy(word, &value, sizeof value);
  }

  std::byte* buffer_;
  std::size_t position_ = sizeof(RecordHeader);
  std::size_t fields_ = 0;
  std::uint8_t flags_ = 0;
  std::uint16_t id_ = 0;  ///< of the open field, as the two below
  FieldKind kind_ = FieldKind::words;
  std::uint8_t field_flags_ = 0;
};
static_assert(kMaxRecordBytes % 8 == 0 && sizeof(RecordHeader) % 8 == 0);

}  // namespace glasshook::capture
