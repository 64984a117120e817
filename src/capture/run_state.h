// What a run of a capture program has besides its registers and position.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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
  RunState(const CpuState& cpu, const Environment& environment, Workspace& work) noexcept
      : reader_(*environment.ram, cpu.space, environment.kernel_space, work.directories),
        record_(work.buffer) {}

  [[nodiscard]] const GuestReader& reader() const noexcept { return reader_; }
  /// What a load is of.
  static Gva address_of(const Step& in, std::uint64_t base) noexcept {
    return Gva{base + static_cast<std::uint64_t>(std::int64_t{in.offset})};
  }
  static std::uint64_t value_at(const Step& in, const std::byte* host) noexcept {
    return word_at(host) & in.imm;
  }
  /// One load from anywhere; on a fault 0, and the fault flag.
  [[gnu::noinline]] std::uint64_t load(const Step& in, Gva from, Space space) noexcept {
    if (from.page_offset() <= kPageSize - kLoadBytes) [[likely]]
      if (const std::byte* host = reader_.find(from, kLoadBytes, space); host != nullptr) [[likely]]
        return value_at(in, host);
    std::uint64_t value = 0;
    if (reader_.load(from, in.size, space, value)) return value;
    faulted_ = true;
    return 0;
  }
  /// Where the object at `base` lies that several loads are from, when that is known memory.
  bool find_object(const Step& in, std::uint64_t base, const std::byte*& object) const noexcept {
    if (!reader_.find_in_region(first_of(in, base), in.together.bytes, Space::kernel, object))
      return false;
    object -= in.together.first;
    return true;
  }
  /// The same of any memory; nullptr where the loads have to be done one by one.
  [[gnu::noinline]] const std::byte* look_for_object(const Step& in, std::uint64_t base) noexcept {
    const std::byte* host = reader_.find(first_of(in, base), in.together.bytes, Space::kernel);
    return host == nullptr ? nullptr : host - in.together.first;
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
  bool append_known_string(Gva from, Space space, std::size_t max, std::size_t room) noexcept {
    const std::byte* host = nullptr;
    if (room > list_left() || !reader_.find_in_region(from, room, space, host)) return false;
    const std::size_t length = GuestReader::copy_text(list_, host, max);
    if (length > max) return false;
    list_ += length + 1;
    return true;
  }
  [[gnu::noinline]] void append_string(Gva from, Space space, std::size_t max) noexcept {
    if (list_ == nullptr) return;
    if (list_ == list_end_) {
      record_.flag_field(kFieldTruncated);
      record_.flag_record(kRecordTruncated);
      return;
    }
    const std::span out{list_, std::min(max + 1, list_left())};
    const auto text = reader_.copy_string(from, space, out);
    flag_cut(text, false, out.size() < max + 1);
    const std::size_t length = std::min(text.length, out.size() - 1);
    list_[length] = std::byte{0};
    list_ += length + 1;
  }

  static constexpr std::uint32_t kNoJumps = ~std::uint32_t{0};
  /// How many of `jumps` backward ones are left, or kNoJumps when it would have needed more.
  [[gnu::noinline]] std::uint32_t append_chain(const Step& in,
                                               std::array<std::uint64_t, kRegisterCount>& r,
                                               std::uint32_t jumps) noexcept {
    const ChainLinks links(in);
    const std::uint64_t first_end = r[in.src], second_end = r[in.src + 1u];
    std::uint64_t object = r[in.dst], count = r[in.size];
    for (++jumps; jumps-- != 0;) {
      const std::byte* host = nullptr;
      std::uint64_t next, name;
      if (reader_.find_in_region(Gva{object} + links.first, links.bytes, Space::kernel, host))
          [[likely]] {
        next = word_at(host + links.next);
        name = word_at(host + links.name);
      } else {
        next = load_word(Gva{object} + links.first + links.next);
        name = load_word(Gva{object} + links.first + links.name);
      }
      if (faulted_) break;
      if (!append_known_string(Gva{name}, Space::kernel, links.max, links.room)) [[unlikely]]
        append_string(Gva{name}, Space::kernel, links.max);
      object = next == object ? 0 : next;
      if (--count == 0 || object == 0 || object == first_end || object == second_end) break;
    }
    r[in.size] = count;
    r[in.dst] = object;
    return jumps;
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

  std::uint32_t finish(const RecordHeader& header) noexcept { return record_.finish(header); }

 private:
  static Gva first_of(const Step& in, std::uint64_t base) noexcept {
    return Gva{base + static_cast<std::uint64_t>(std::int64_t{in.together.first})};
  }
  /// What append_chain takes of each object, from `first` on.
  struct ChainLinks {
    explicit ChainLinks(const Step& in)
        : first(static_cast<std::uint64_t>(in.together.first)),
          bytes(in.together.bytes),
          next(std::bit_cast<ChainStep>(in.imm).next - first),
          name(static_cast<std::uint64_t>(in.offset) - first),
          max(std::bit_cast<ChainStep>(in.imm).max),
          room(room_to_append(max)) {}
    std::uint64_t first;
    std::size_t bytes, next, name, max, room;
  };
  static std::uint64_t word_at(const std::byte* host) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, host, sizeof value);
    return value;
  }
  [[gnu::noinline]] std::uint64_t load_word(Gva from) noexcept {
    std::uint64_t value = 0;
    faulted_ |= !reader_.load(from, sizeof value, Space::kernel, value);
    return value;
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
