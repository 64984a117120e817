// What a probe sends for one hit: a fixed header and typed fields, little-endian, 8-byte aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace glasshook::capture {

inline constexpr std::uint16_t kRecordVersion = 1;

enum class RecordKind : std::uint8_t {
  entry = 1,      ///< a hooked function was entered
  exit = 2,       ///< the same call returned
  code_page = 3,  ///< code ran on a page for the first time (see CodePageWord)
};

enum RecordFlag : std::uint8_t {
  kRecordTruncated = 1,  ///< a field did not fit any more and was cut or left out
  kRecordBudget = 2,     ///< the program used up its jumps and was ended
  kRecordGivenUp = 4,    ///< an exit without fields: the call can no longer return
};

/// Header of every record. `size` counts header and fields and is a multiple of 8.
struct RecordHeader {
  std::uint32_t size = 0;
  std::uint16_t version = kRecordVersion;
  RecordKind kind = RecordKind::entry;
  std::uint8_t flags = 0;  ///< RecordFlag
  std::uint32_t hook = 0;  ///< HookId
  std::uint32_t vcpu = 0;
  std::uint64_t sequence = 0;   ///< counts up by one a ring, lost records included
  std::uint64_t timestamp = 0;  ///< host time-stamp counter at the hit
  std::uint64_t call = 0;       ///< joins entry and exit of one call; unique within a session
};
static_assert(sizeof(RecordHeader) == 40);

enum class FieldKind : std::uint8_t {
  words = 1,   ///< 64-bit values
  string = 2,  ///< bytes up to a NUL that is not stored
  utf16 = 3,   ///< UTF-16LE code units
  bytes = 4,
  list = 5,  ///< strings, each with its NUL
};

enum FieldFlag : std::uint8_t {
  kFieldFaulted = 1,    ///< memory was not readable from the start: the field is empty
  kFieldTruncated = 2,  ///< cut at its cap or at an unreadable page
};

/// Header of one field; `length` bytes of data follow, then padding to 8.
struct FieldHeader {
  std::uint16_t id = 0;
  FieldKind kind = FieldKind::words;
  std::uint8_t flags = 0;    ///< FieldFlag
  std::uint16_t length = 0;  ///< bytes of data; at most kMaxFieldBytes
  std::uint8_t detail = 0;   ///< lists: the value given to end_list
  std::uint8_t reserved = 0;
};
static_assert(sizeof(FieldHeader) == 8);

/// The one field of a code_page record.
enum CodePageWord { kCodePageGpa, kCodePageGva, kCodePageRoot, kCodePageHash, kCodePageWords };
inline constexpr std::uint16_t kCodePageField = 0xfff0;

/// One checked field: the data lies inside the record it came from.
struct FieldView {
  std::uint16_t id = 0;
  FieldKind kind = FieldKind::words;
  std::uint8_t flags = 0;
  std::uint8_t detail = 0;
  std::span<const std::byte> data;

  [[nodiscard]] bool faulted() const { return (flags & kFieldFaulted) != 0; }
  [[nodiscard]] bool truncated() const { return (flags & kFieldTruncated) != 0; }
  /// Word `index`, or 0 when the field is shorter.
  [[nodiscard]] std::uint64_t word(std::size_t index) const noexcept;
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
  }
};

/// A record whose header and every field header were checked against its size (the producer may
/// have been taken over). Borrows the bytes.
class RecordView {
 public:
  static constexpr std::size_t kMaxFields = 64;

  /// False when the bytes are not a well-formed record of a known version.
  [[nodiscard]] static bool parse(std::span<const std::byte> bytes, RecordView& out) noexcept;

  [[nodiscard]] const RecordHeader& header() const { return header_; }
  [[nodiscard]] std::span<const FieldView> fields() const { return {fields_, field_count_}; }
  /// First field with that id, or nullptr.
  [[nodiscard]] const FieldView* find(std::uint16_t id) const noexcept;
  /// The word with that id: several words of one field have ids that follow each other. Empty when
  /// there is none.
  [[nodiscard]] std::optional<std::uint64_t> find_word(std::uint16_t id) const noexcept;
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  RecordHeader header_;
  FieldView fields_[kMaxFields];
  std::size_t field_count_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace glasshook::capture
