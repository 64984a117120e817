// What a run of a capture program has besides its registers and position.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "capture/executable.h"
#include "capture/guest_reader.h"
#include "capture/machine.h"
#include "capture/record_writer.h"

namespace glasshook::capture {

/// What a load reads, of which not all may count.
inline constexpr std::size_t kLoadBytes = sizeof(std::uint64_t);

[[nodiscard]] inline bool matches(const Pattern& pattern, std::string_view text) {
  switch (pattern.kind) {
    case PatternKind::equal:
      return text == pattern.text;
    case PatternKind::prefix:
      return text.starts_with(pattern.text);
    case PatternKind::suffix:
      return text.ends_with(pattern.text);
    case PatternKind::glob:
      return glob_match(pattern.text, text);
  }
  return false;
}

/// Memory, the record and the work done. What a hit seldom needs is kept out of the caller's code.
class RunState {
 public:
  RunState(const CpuState& cpu, const Environment& environment,
           std::span<std::byte> buffer) noexcept
      : reader_(*environment.ram, cpu.space, environment.kernel_space), record_(buffer) {}

  /// Where the object at `base` lies that is loaded from, when that is in known memory. A program's
  /// lies in single pages, the kernel's in large ones.
  bool find(const Step& in, std::uint64_t base, const std::byte*& object) const noexcept {
    if (!reader_.find_in_page(Gva{base + offset_of(in)}, kLoadBytes, Space::current, object))
      return false;
    object -= offset_of(in);
    return true;
  }
  bool find_kernel(const Step& in, std::uint64_t base, const std::byte*& object) const noexcept {
    if (!reader_.find_in_region(Gva{base + offset_of(in)}, kLoadBytes, Space::kernel, object))
      return false;
    object -= offset_of(in);
    return true;
  }
  /// The same for several loads.
  bool find_object(const Step& in, std::uint64_t base, const std::byte*& object) const noexcept {
    const auto first = static_cast<std::uint64_t>(std::int64_t{in.together.first});
    if (!reader_.find_in_region(Gva{base + first}, in.together.bytes, Space::kernel, object))
      return false;
    object -= first;
    return true;
  }
  static std::uint64_t member(const Step& in, const std::byte* object) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, object + offset_of(in), sizeof value);
    return value & in.imm;
  }
  /// One load from anywhere; on a fault 0, and the fault flag.
  [[gnu::noinline]] std::uint64_t load(const Step& in, std::uint64_t base, Space space) noexcept {
    std::uint64_t value = 0;
    if (reader_.load(Gva{base + offset_of(in)}, in.size, space, value)) [[likely]]
      return value;
    faulted_ = true;
    return 0;
  }

  /// The fault flag; reading it clears it.
  bool take_fault() noexcept {
    if (!faulted_) [[likely]]
      return false;
    faulted_ = false;
    return true;
  }

  [[gnu::noinline]] bool match(std::uint64_t address, Space space,
                               const Pattern& pattern) noexcept {
    // No more is read than the comparison needs to see.
    const bool whole = pattern.kind == PatternKind::suffix || pattern.kind == PatternKind::glob;
    const std::size_t want =
        whole ? kMaxMatchBytes : pattern.text.size() + (pattern.kind == PatternKind::equal ? 1 : 0);
    std::array<std::byte, kMaxMatchBytes> text;
    const auto read = reader_.copy_string(Gva{address}, space, std::span{text}.first(want));
    matched_bytes_ += read.length + 1;
    if (!read.terminated && (read.faulted || pattern.kind != PatternKind::prefix)) return false;
    return matches(pattern, {reinterpret_cast<const char*>(text.data()), read.length});
  }
  [[nodiscard]] bool match_budget_used() const noexcept { return matched_bytes_ > kMaxMatchWork; }

  void emit_word(const Step& in, std::uint64_t word) noexcept { record_.add_word(in.imm, word); }
  void emit_words(const Step& in, const std::uint64_t* words) noexcept {
    record_.add_words(in.imm, words, in.size);
  }

  /// emit_string, and emit_utf16 without a length.
  [[gnu::noinline]] void emit_text(const Step& in, FieldKind kind, std::uint64_t address) noexcept {
    if (!record_.open(field_id(in), kind)) return;
    const std::size_t unit = kind == FieldKind::utf16 ? 2 : 1;
    const std::size_t max = static_cast<std::size_t>(in.offset) & ~(unit - 1);
    // One unit more than may be kept, so that a text of exactly `max` bytes is known to be whole.
    const std::span out{record_.data(), std::min(max + unit, record_.room())};
    const Space space{in.src};
    const auto text = kind == FieldKind::utf16 ? reader_.copy_utf16(Gva{address}, space, out)
                                               : reader_.copy_string(Gva{address}, space, out);
    flag_cut(text, text.length == 0, out.size() < max + unit);
    record_.close(std::min(text.length, max));
  }

  /// emit_bytes, and emit_utf16 with a length; `length` in bytes.
  [[gnu::noinline]] void emit_counted(const Step& in, FieldKind kind, std::uint64_t address,
                                      std::uint64_t length) noexcept {
    if (!record_.open(field_id(in), kind)) return;
    const std::size_t unit_mask = kind == FieldKind::utf16 ? ~std::size_t{1} : ~std::size_t{0};
    const auto cap = static_cast<std::size_t>(in.offset);
    const std::size_t wanted = std::min<std::uint64_t>(length, cap) & unit_mask;
    const std::size_t fits = std::min(wanted, record_.room());
    const std::size_t copied =
        reader_.copy(Gva{address}, Space{in.src}, {record_.data(), fits}) & unit_mask;
    if (fits < wanted) record_.flag_record(kRecordTruncated);
    if (copied == 0 && fits > 0)
      record_.flag_field(kFieldFaulted);
    else if (copied < (length & unit_mask))
      record_.flag_field(kFieldTruncated);
    record_.close(copied);
  }

  void begin_list(const Step& in) noexcept {
    if (!record_.open(field_id(in), FieldKind::list)) return;
    list_ = record_.data();
    list_end_ = list_ + std::min<std::size_t>(record_.room(), kMaxFieldBytes);
  }

  /// How many bytes a list has left, and lie in known memory, when append_string() is quick.
  static constexpr std::size_t room_to_append(std::size_t max) {
    return GuestReader::text_extent(max);
  }
  bool append_known_string(const Step& in, std::uint64_t address) noexcept {
    const std::byte* host = nullptr;
    if (in.imm > list_left() || !reader_.find_in_region(Gva{address}, in.imm, Space{in.src}, host))
      return false;
    const auto max = static_cast<std::size_t>(in.offset);
    const std::size_t length = GuestReader::copy_text(list_, host, max);
    if (length > max) return false;
    list_ += length + 1;
    return true;
  }
  [[gnu::noinline]] void append_string(const Step& in, std::uint64_t address) noexcept {
    if (list_ == nullptr) return;
    if (list_ == list_end_) {
      record_.flag_field(kFieldTruncated);
      record_.flag_record(kRecordTruncated);
      return;
    }
    const auto max = static_cast<std::size_t>(in.offset);
    const std::span out{list_, std::min(max + 1, list_left())};
    const auto text = reader_.copy_string(Gva{address}, Space{in.src}, out);
    flag_cut(text, false, out.size() < max + 1);
    const std::size_t length = std::min(text.length, out.size() - 1);
    list_[length] = std::byte{0};
    list_ += length + 1;
  }

  void end_list(std::uint8_t detail) noexcept {
    if (list_ != nullptr) record_.close(static_cast<std::size_t>(list_ - record_.data()), detail);
    list_ = list_end_ = nullptr;
  }

  /// Closes a list that the end of the budget left open.
  [[gnu::noinline]] void cut() noexcept {
    if (list_ != nullptr) record_.flag_field(kFieldTruncated);
    end_list(0);
    record_.flag_record(kRecordBudget);
  }

  [[gnu::noinline]] std::uint32_t finish(const RecordHeader& header) noexcept {
    return record_.finish(header);
  }

 private:
  static std::uint64_t offset_of(const Step& in) noexcept {
    return static_cast<std::uint64_t>(std::int64_t{in.offset});
  }
  [[nodiscard]] std::size_t list_left() const noexcept {
    return static_cast<std::size_t>(list_end_ - list_);
  }
  static std::uint16_t field_id(const Step& in) { return static_cast<std::uint16_t>(in.imm); }

  void flag_cut(const GuestReader::Text& text, bool empty, bool short_of_room) noexcept {
    if (text.terminated) return;
    record_.flag_field(text.faulted && empty ? kFieldFaulted : kFieldTruncated);
    if (!text.faulted && short_of_room) record_.flag_record(kRecordTruncated);
  }

  GuestReader reader_;
  RecordWriter record_;
  std::byte* list_ = nullptr;      ///< where the next string of an open list goes
  std::byte* list_end_ = nullptr;  ///< and what it may not reach beyond
  std::size_t matched_bytes_ = 0;
  bool faulted_ = false;
};

}  // namespace glasshook::capture
