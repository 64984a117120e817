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
  explicit RecordWriter(std::span<std::byte> buffer) noexcept
      : buffer_(buffer.data()),
        at_(buffer.data() + sizeof(RecordHeader)),
        end_(buffer.data() + kMaxRecordBytes) {}

  [[nodiscard]] bool open(std::uint16_t id, FieldKind kind, std::size_t least_room = 0) noexcept {
    if (!has_place(least_room)) return false;
    id_ = id;
    kind_ = kind;
    field_flags_ = 0;
    return true;
  }

  /// A whole field of words, whose header says how many.
  void add_words(std::uint64_t header, const std::uint64_t* words, std::size_t count) noexcept {
    if (!has_place(count * sizeof *words)) return;
    std::byte* to = at_;
    std::memcpy(to, &header, sizeof header);
    // What compilers make of a copy of any number is slow to begin.
    for (const std::uint64_t* word = words; word != words + count; ++word)
      std::memcpy(to += sizeof *word, word, sizeof *word);
    end_field(to + sizeof *words);
  }
  /// The same of a single one, which it is nearly always.
  void add_word(std::uint64_t header, std::uint64_t word) noexcept {
    if (!has_place(sizeof word)) return;
    std::byte* const to = at_;
    std::memcpy(to, &header, sizeof header);
    std::memcpy(to + sizeof header, &word, sizeof word);
    end_field(to + sizeof header + sizeof word);
  }

  /// Where the open field's data goes, and how many bytes the record has left for it.
  [[nodiscard]] std::byte* data() const noexcept { return at_ + sizeof(FieldHeader); }
  [[nodiscard]] std::size_t room() const noexcept { return left() - sizeof(FieldHeader); }

  /// Adds FieldFlags to the open field.
  void flag_field(std::uint8_t flags) noexcept { field_flags_ |= flags; }
  /// Adds RecordFlags to the record.
  void flag_record(std::uint8_t flags) noexcept { flags_ |= flags; }

  /// Ends the open field with `length` bytes of data, at most min(room(), kMaxFieldBytes).
  void close(std::size_t length, std::uint8_t detail = 0) noexcept {
    const std::size_t padded = (length + 7) & ~std::size_t{7};
    if (const std::size_t used = length % 8; used != 0) clear_from(data() + padded - 8, used);
    ::new (at_) FieldHeader{.id = id_,
                            .kind = kind_,
                            .flags = field_flags_,
                            .length = static_cast<std::uint16_t>(length),
                            .detail = detail};
    end_field(at_ + sizeof(FieldHeader) + padded);
  }

  /// Puts the header in front of the fields; the size of the record.
  std::uint32_t finish(const RecordHeader& header) noexcept {
    auto* record = ::new (buffer_) RecordHeader(header);
    record->size = static_cast<std::uint32_t>(at_ - buffer_);
    record->flags = static_cast<std::uint8_t>(header.flags | flags_);
    return record->size;
  }

 private:
  /// Whether the record takes one more field with that much data; marks it when not.
  [[nodiscard]] bool has_place(std::size_t bytes) noexcept {
    const bool has = fields_ != RecordView::kMaxFields && sizeof(FieldHeader) + bytes <= left();
    if (!has) [[unlikely]]
      flags_ |= kRecordTruncated;
    return has;
  }
  [[nodiscard]] std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  void end_field(std::byte* end) noexcept {
    at_ = end;
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
  std::byte* at_;   ///< where the next field goes
  std::byte* end_;  ///< of the room for fields
  std::size_t fields_ = 0;
  std::uint8_t flags_ = 0;
  std::uint16_t id_ = 0;  ///< of the open field, as the two below
  FieldKind kind_ = FieldKind::words;
  std::uint8_t field_flags_ = 0;
};
static_assert(kMaxRecordBytes % 8 == 0 && sizeof(RecordHeader) % 8 == 0);

}  // namespace glasshook::capture
