// Builds a record in a caller's buffer, field by field, never beyond its end.
#pragma once

#include <algorithm>
#include <cstring>
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
    if (fields_ == RecordView::kMaxFields ||
        position_ + sizeof(FieldHeader) + least_room > kMaxRecordBytes) {
      flags_ |= kRecordTruncated;
      return false;
    }
    field_ = {.id = id, .kind = kind};
    return true;
  }

  /// Where the open field's data goes, and how many bytes the record has left for it.
  [[nodiscard]] std::byte* data() const noexcept {
    return buffer_ + position_ + sizeof(FieldHeader);
  }
  [[nodiscard]] std::size_t room() const noexcept {
    return kMaxRecordBytes - position_ - sizeof(FieldHeader);
  }

  /// Adds FieldFlags to the open field.
  void flag_field(std::uint8_t flags) noexcept { field_.flags |= flags; }
  /// Adds RecordFlags to the record.
  void flag_record(std::uint8_t flags) noexcept { flags_ |= flags; }

  /// Ends the open field with `length` bytes of data, at most min(room(), kMaxFieldBytes).
  void close(std::size_t length, std::uint8_t detail = 0) noexcept {
    const std::size_t padded = (length + 7) & ~std::size_t{7};
    std::memset(data() + length, 0, padded - length);
    field_.length = static_cast<std::uint16_t>(length);
    field_.detail = detail;
    std::memcpy(buffer_ + position_, &field_, sizeof field_);
    position_ += sizeof(FieldHeader) + padded;
    ++fields_;
  }

  /// Puts the header in front of the fields; the size of the record.
  std::uint32_t finish(RecordHeader header) noexcept {
    header.size = static_cast<std::uint32_t>(position_);
    header.flags = static_cast<std::uint8_t>(header.flags | flags_);
    std::memcpy(buffer_, &header, sizeof header);
    return header.size;
  }

 private:
  std::byte* buffer_;
  std::size_t position_ = sizeof(RecordHeader);
  std::size_t fields_ = 0;
  FieldHeader field_;
  std::uint8_t flags_ = 0;
};
static_assert(kMaxRecordBytes % 8 == 0 && sizeof(RecordHeader) % 8 == 0);

}  // namespace glasshook::capture
