#include "capture/machine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "capture/guest_reader.h"
#include "capture/rate_limiter.h"
#include "capture/record_writer.h"
#include "capture/set_table.h"

namespace glasshook::capture {
namespace {

std::uint64_t cpu_value(const CpuState& cpu, std::uint64_t number) {
  if (number < cpu.gpr.size()) return cpu.gpr[number];
  switch (static_cast<CpuRegister>(number)) {
    case CpuRegister::rip:
      return cpu.rip;
    case CpuRegister::cr3:
      return cpu.space.root.value;
    case CpuRegister::fs_base:
      return cpu.fs_base;
    case CpuRegister::gs_base:
      return cpu.gs_base;
    case CpuRegister::kernel_gs:
      return cpu.kernel_gs;
    case CpuRegister::vcpu:
      return cpu.vcpu;
    case CpuRegister::user_mode:
      return cpu.user_mode ? 1 : 0;
    case CpuRegister::lstar:
      return cpu.lstar;
    case CpuRegister::idt_base:
      return cpu.idt_base;
    case CpuRegister::operand:
      return cpu.operand;
    default:
      return 0;
  }
}

std::int64_t as_signed(std::uint64_t value) { return static_cast<std::int64_t>(value); }

std::uint64_t sign_extended(std::uint64_t value, std::size_t size) {
  const int shift = static_cast<int>(64 - 8 * size);
  return static_cast<std::uint64_t>(as_signed(value << shift) >> shift);
}

bool matches(const Pattern& pattern, std::string_view text) {
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

/// The state of one run besides registers and position: memory, the record and the work done.
class Run {
 public:
  Run(const CpuState& cpu, const Environment& environment, std::span<std::byte> buffer) noexcept
      : reader_(*environment.ram, cpu.space, environment.kernel_space), record_(buffer) {}

  std::uint64_t load(std::uint64_t address, const Instruction& in) noexcept {
    std::uint64_t value = 0;
    if (!reader_.load(Gva{address}, in.size, static_cast<Space>(in.imm), value)) {
      value = 0;
      faulted_ = true;
    }
    return value;
  }

  /// The fault flag; reading it clears it.
  bool take_fault() noexcept { return std::exchange(faulted_, false); }

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

  void emit_words(const Instruction& in, const std::uint64_t* words) noexcept {
    const std::size_t bytes = in.size * sizeof *words;
    if (!record_.open(field_id(in), FieldKind::words, bytes)) return;
    std::memcpy(record_.data(), words, bytes);
    record_.close(bytes);
  }

  /// emit_string, and emit_utf16 without a length.
  void emit_text(const Instruction& in, FieldKind kind, std::uint64_t address) noexcept {
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
  void emit_counted(const Instruction& in, FieldKind kind, std::uint64_t address,
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

  void begin_list(const Instruction& in) noexcept {
    list_open_ = record_.open(field_id(in), FieldKind::list);
    list_bytes_ = 0;
  }

  void append_string(const Instruction& in, std::uint64_t address) noexcept {
    if (!list_open_) return;
    const std::size_t room = std::min<std::size_t>(record_.room(), kMaxFieldBytes) - list_bytes_;
    if (room == 0) {
      record_.flag_field(kFieldTruncated);
      record_.flag_record(kRecordTruncated);
      return;
    }
    const auto max = static_cast<std::size_t>(in.offset);
    std::byte* const begin = record_.data() + list_bytes_;
    const std::span out{begin, std::min(max + 1, room)};
    const auto text = reader_.copy_string(Gva{address}, Space{in.src}, out);
    flag_cut(text, false, out.size() < max + 1);
    const std::size_t length = std::min(text.length, out.size() - 1);
    begin[length] = std::byte{0};
    list_bytes_ += length + 1;
  }

  void end_list(std::uint8_t detail) noexcept {
    if (list_open_) record_.close(list_bytes_, detail);
    list_open_ = false;
  }

  /// Closes a list that the end of the budget left open.
  void cut() noexcept {
    if (list_open_) record_.flag_field(kFieldTruncated);
    end_list(0);
    record_.flag_record(kRecordBudget);
  }

  std::uint32_t finish(const RecordHeader& header) noexcept { return record_.finish(header); }

 private:
  static std::uint16_t field_id(const Instruction& in) {
    return static_cast<std::uint16_t>(in.imm);
  }

  void flag_cut(const GuestReader::Text& text, bool empty, bool short_of_room) noexcept {
    if (text.terminated) return;
    record_.flag_field(text.faulted && empty ? kFieldFaulted : kFieldTruncated);
    if (!text.faulted && short_of_room) record_.flag_record(kRecordTruncated);
  }

  GuestReader reader_;
  RecordWriter record_;
  std::size_t list_bytes_ = 0;
  std::size_t matched_bytes_ = 0;
  bool list_open_ = false;
  bool faulted_ = false;
};

}  // namespace

RunResult run(const Program& program, const CpuState& cpu, const Environment& environment,
              SavedSlots& saved, const RecordHeader& header, std::span<std::byte> buffer) noexcept {
  Run state(cpu, environment, buffer);
  RunResult result;
  std::array<std::uint64_t, kRegisterCount> r{};
  std::uint32_t back_jumps = program.back_jumps;
  bool limited = false;
  const Instruction* next = program.code.data();

  const auto budget = [&] {
    state.cut();
    result.record_size = state.finish(header);
    result.outcome = Outcome::budget;
    return result;
  };

  while (true) {
    const Instruction& in = *next++;
    const auto operand = [&] { return in.src == kImmediate ? in.imm : r[in.src]; };
    switch (in.op) {
      case Op::load_cpu:
        r[in.dst] = cpu_value(cpu, in.imm);
        break;
      case Op::move:
        r[in.dst] = operand();
        break;
      case Op::add:
        r[in.dst] += operand();
        break;
      case Op::sub:
        r[in.dst] -= operand();
        break;
      case Op::bit_and:
        r[in.dst] &= operand();
        break;
      case Op::bit_or:
        r[in.dst] |= operand();
        break;
      case Op::bit_xor:
        r[in.dst] ^= operand();
        break;
      case Op::shift_left:
        r[in.dst] <<= operand() & 63;
        break;
      case Op::shift_right:
        r[in.dst] >>= operand() & 63;
        break;
      case Op::multiply:
        r[in.dst] *= operand();
        break;
      case Op::load_memory:
        r[in.dst] = state.load(r[in.src] + static_cast<std::uint64_t>(std::int64_t{in.offset}), in);
        break;
      case Op::sign_extend:
        r[in.dst] = sign_extended(r[in.dst], in.size);
        break;
      case Op::load_saved:
        r[in.dst] = saved[in.imm];
        break;
      case Op::save:
        saved[in.imm] = r[in.src];
        break;

      case Op::jump:
        next += in.offset;
        break;
      case Op::jump_back:
        if (back_jumps-- == 0) return budget();
        next += in.offset;
        break;
      case Op::jump_eq:
        if (r[in.dst] == operand()) next += in.offset;
        break;
      case Op::jump_ne:
        if (r[in.dst] != operand()) next += in.offset;
        break;
      case Op::jump_lt:
        if (r[in.dst] < operand()) next += in.offset;
        break;
      case Op::jump_le:
        if (r[in.dst] <= operand()) next += in.offset;
        break;
      case Op::jump_gt:
        if (r[in.dst] > operand()) next += in.offset;
        break;
      case Op::jump_ge:
        if (r[in.dst] >= operand()) next += in.offset;
        break;
      case Op::jump_signed_lt:
        if (as_signed(r[in.dst]) < as_signed(operand())) next += in.offset;
        break;
      case Op::jump_signed_ge:
        if (as_signed(r[in.dst]) >= as_signed(operand())) next += in.offset;
        break;
      case Op::jump_any_bit:
        if ((r[in.dst] & operand()) != 0) next += in.offset;
        break;
      case Op::jump_fault:
        if (state.take_fault()) next += in.offset;
        break;

      case Op::match_string:
        r[in.dst] = state.match(r[in.src], Space{in.size}, program.patterns[in.imm]) ? 1 : 0;
        if (state.match_budget_used()) return budget();
        break;
      case Op::set_has:
        r[in.dst] =
            environment.sets && environment.sets->has(static_cast<std::uint32_t>(in.imm), r[in.src])
                ? 1
                : 0;
        break;
      case Op::set_add:
        if (environment.sets) environment.sets->add(static_cast<std::uint32_t>(in.imm), r[in.src]);
        break;
      case Op::set_remove:
        if (environment.sets)
          environment.sets->remove(static_cast<std::uint32_t>(in.imm), r[in.src]);
        break;
      case Op::rate_limit:
        if (environment.limiters &&
            !environment.limiters->take(static_cast<std::uint32_t>(in.imm), header.timestamp)) {
          limited = true;
          next += in.offset;
        }
        break;

      case Op::emit_words:
        state.emit_words(in, &r[in.dst]);
        break;
      case Op::emit_string:
        state.emit_text(in, FieldKind::string, r[in.dst]);
        break;
      case Op::emit_utf16:
        if (in.size == kImmediate)
          state.emit_text(in, FieldKind::utf16, r[in.dst]);
        else
          state.emit_counted(in, FieldKind::utf16, r[in.dst], r[in.size]);
        break;
      case Op::emit_bytes:
        state.emit_counted(
            in, FieldKind::bytes, r[in.dst],
            in.size == kImmediate ? static_cast<std::uint64_t>(in.offset) : r[in.size]);
        break;
      case Op::begin_list:
        state.begin_list(in);
        break;
      case Op::append_string:
        state.append_string(in, r[in.dst]);
        break;
      case Op::end_list:
        state.end_list(static_cast<std::uint8_t>(r[in.dst]));
        break;

      case Op::arm_return:
        result.return_armed = true;
        break;
      case Op::send:
        result.record_size = state.finish(header);
        result.outcome = Outcome::sent;
        return result;
      case Op::stop:
      case Op::count_:
        result.outcome = limited ? Outcome::rate_limited : Outcome::stopped;
        return result;
    }
  }
}

}  // namespace glasshook::capture
