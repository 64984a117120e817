#include "capture/assembler.h"

#include <bit>
#include <charconv>
#include <map>
#include <optional>

#include "capture/op_table.h"

namespace glasshook::capture {
namespace {

std::string_view trimmed(std::string_view s) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t first = s.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kBlank) - first + 1);
}

/// Cuts the front of `s` up to `separator` (or all of it) off and returns it, trimmed.
std::string_view cut(std::string_view& s, char separator) {
  const std::size_t end = s.find(separator);
  const std::string_view front = trimmed(s.substr(0, end));
  s = end == std::string_view::npos ? std::string_view{} : s.substr(end + 1);
  return front;
}

std::optional<std::uint64_t> parse_number(std::string_view s) {
  int base = 10;
  if (s.starts_with("0x")) {
    base = 16;
    s.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value, base);
  if (error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return value;
}

/// Takes the operands of one line apart, left to right; remembers the first that is wrong.
class Operands {
 public:
  explicit Operands(std::string_view text) : rest_(text) {}

  std::string_view word() { return cut(rest_, ','); }

  std::uint64_t number(std::uint64_t max = ~std::uint64_t{0}) {
    const std::string_view text = word();
    const auto value = parse_number(text);
    if (!value || *value > max) return complain("a number", text), 0;
    return *value;
  }
  std::uint8_t byte() { return static_cast<std::uint8_t>(number(0xff)); }
  std::int32_t cap() { return static_cast<std::int32_t>(number(kMaxFieldBytes)); }

  std::uint8_t reg() { return parse_register(word()); }

  /// A register, or an immediate that goes to `in.imm`.
  std::uint8_t source(Instruction& in) {
    const std::string_view text = word();
    if (text.starts_with('r')) return parse_register(text);
    const auto value = parse_number(text);
    if (!value) return complain("a register or a number", text), 0;
    in.imm = *value;
    return kImmediate;
  }

  /// A register, or `-` for none.
  std::uint8_t length() {
    const std::string_view text = word();
    return text == "-" ? kImmediate : parse_register(text);
  }

  /// `[rN]`, `[rN + number]` or `[rN - number]`.
  void address(Instruction& in) {
    const std::string_view text = word();
    if (text.size() < 2 || !text.starts_with('[') || !text.ends_with(']'))
      return complain("an address", text);
    std::string_view inner = text.substr(1, text.size() - 2);
    const std::size_t sign = inner.find_first_of("+-");
    in.src = parse_register(trimmed(inner.substr(0, sign)));
    if (sign == std::string_view::npos) return;
    const bool negative = inner[sign] == '-';
    const auto value = parse_number(trimmed(inner.substr(sign + 1)));
    if (!value || *value > (negative ? 0x8000'0000u : 0x7fff'ffffu))
      return complain("an address", text);
    const auto offset = static_cast<std::int64_t>(*value);
    in.offset = static_cast<std::int32_t>(negative ? -offset : offset);
  }

  std::uint64_t cpu_register() {
    const std::string_view text = word();
    const auto found = cpu_register_by_name(text);
    if (!found) return complain("a processor register", text), 0;
    return static_cast<std::uint64_t>(*found);
  }

  /// The last operand, which may be missing.
  std::uint8_t space() {
    const std::string_view text = word();
    if (text == "kernel") return static_cast<std::uint8_t>(Space::kernel);
    if (!text.empty() && text != "current") complain("a space", text);
    return static_cast<std::uint8_t>(Space::current);
  }

  /// What is wrong with the line, or an empty string.
  [[nodiscard]] std::string fault() const {
    if (!fault_.empty()) return fault_;
    return trimmed(rest_).empty() ? "" : fmt::format("too many operands: '{}'", trimmed(rest_));
  }

 private:
  std::uint8_t parse_register(std::string_view text) {
    const auto value = text.starts_with('r') ? parse_number(text.substr(1)) : std::nullopt;
    if (!value || *value >= kRegisterCount) return complain("a register", text), 0;
    return static_cast<std::uint8_t>(*value);
  }

  void complain(std::string_view wanted, std::string_view text) {
    if (fault_.empty()) fault_ = fmt::format("'{}' is not {}", text, wanted);
  }

  std::string_view rest_;
  std::string fault_;
};

/// Reads the operands of `in.op`; the text of a jump target is returned.
std::string_view read_operands(Instruction& in, Operands& operands) {
  switch (op_info(in.op).shape) {
    case Shape::none:
      break;
    case Shape::load_cpu:
      in.dst = operands.reg();
      in.imm = operands.cpu_register();
      break;
    case Shape::operand:
      in.dst = operands.reg();
      in.src = operands.source(in);
      break;
    case Shape::load_memory:
      in.dst = operands.reg();
      operands.address(in);
      in.size = operands.byte();
      in.imm = operands.space();
      break;
    case Shape::sign_extend:
      in.dst = operands.reg();
      in.size = operands.byte();
      break;
    case Shape::load_saved:
      in.dst = operands.reg();
      in.imm = operands.number();
      break;
    case Shape::save:
      in.imm = operands.number();
      in.src = operands.reg();
      break;
    case Shape::jump:
      return operands.word();
    case Shape::compare:
      in.dst = operands.reg();
      in.src = operands.source(in);
      return operands.word();
    case Shape::match:
      in.dst = operands.reg();
      in.src = operands.reg();
      in.imm = operands.number();
      in.size = operands.space();
      break;
    case Shape::set_test:
      in.dst = operands.reg();
      in.src = operands.reg();
      in.imm = operands.number();
      break;
    case Shape::set_change:
      in.src = operands.reg();
      in.imm = operands.number();
      break;
    case Shape::limit:
      in.imm = operands.number();
      return operands.word();
    case Shape::words:
      in.imm = operands.number();
      in.dst = operands.reg();
      in.size = operands.byte();
      break;
    case Shape::text:
      in.imm = operands.number();
      in.dst = operands.reg();
      in.offset = operands.cap();
      in.src = operands.space();
      break;
    case Shape::counted:
      in.imm = operands.number();
      in.dst = operands.reg();
      in.size = operands.length();
      in.offset = operands.cap();
      in.src = operands.space();
      break;
    case Shape::begin_list:
      in.imm = operands.number();
      break;
    case Shape::append:
      in.dst = operands.reg();
      in.offset = operands.cap();
      in.src = operands.space();
      break;
    case Shape::end_list:
      in.dst = operands.reg();
      break;
    case Shape::chain: {
      in.dst = operands.reg();
      in.src = operands.reg();
      in.size = operands.reg();
      const auto next = static_cast<std::uint16_t>(operands.number(kMaxChainOffset));
      in.offset = static_cast<std::int32_t>(operands.number(kMaxChainOffset));
      const auto max = static_cast<std::uint16_t>(operands.cap());
      in.imm = std::bit_cast<std::uint64_t>(ChainStep{.next = next, .max = max});
      break;
    }
  }
  return {};
}

/// A double-quoted text with `\"`, `\\` and `\xNN`.
std::optional<std::string> unquoted(std::string_view s) {
  if (s.size() < 2 || s.front() != '"' || s.back() != '"') return std::nullopt;
  s = s.substr(1, s.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '"') return std::nullopt;
    if (s[i] != '\\') {
      out += s[i];
    } else if (i + 1 < s.size() && (s[i + 1] == '"' || s[i + 1] == '\\')) {
      out += s[++i];
    } else {
      if (i + 3 >= s.size() || s[i + 1] != 'x') return std::nullopt;
      unsigned value = 0;
      const char* digits = s.data() + i + 2;
      if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) return std::nullopt;
      out += static_cast<char>(value);
      i += 3;
    }
  }
  return out;
}

/// Up to a `;` that stands outside quotes.
std::string_view without_comment(std::string_view line) {
  bool in_quotes = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && in_quotes)
      ++i;
    else if (line[i] == '"')
      in_quotes = !in_quotes;
    else if (line[i] == ';' && !in_quotes)
      return line.substr(0, i);
  }
  return line;
}

class Assembler {
 public:
  Result<Program> assemble(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      ++line_;
      const std::string fault = read_line(trimmed(without_comment(text.substr(0, end))));
      if (!fault.empty()) return fail(ErrorCode::invalid_argument, "line {}: {}", line_, fault);
      if (end == std::string_view::npos) break;
      text.remove_prefix(end + 1);
    }
    for (const auto& [instruction, label, line] : fixups_) {
      const auto found = labels_.find(label);
      if (found == labels_.end())
        return fail(ErrorCode::invalid_argument, "line {}: no label '{}'", line, label);
      program_.code[instruction].offset = static_cast<std::int32_t>(
          static_cast<std::int64_t>(found->second) - static_cast<std::int64_t>(instruction) - 1);
    }
    return std::move(program_);
  }

 private:
  struct Fixup {
    std::size_t instruction;
    std::string_view label;
    std::size_t line;
  };

  /// What is wrong with the line, or an empty string.
  std::string read_line(std::string_view line) {
    if (line.empty()) return {};
    if (line.ends_with(':')) return read_label(line.substr(0, line.size() - 1));
    std::string_view rest = line;
    const std::string_view name = cut(rest, ' ');
    rest = trimmed(rest);
    if (name == ".back_jumps") return read_back_jumps(rest);
    if (name == ".pattern") return read_pattern(rest);
    const auto op = op_by_name(name);
    if (!op) return fmt::format("unknown operation '{}'", name);
    if (program_.code.size() == kMaxInstructions)
      return fmt::format("more than {} instructions", kMaxInstructions);
    Instruction in{.op = *op};
    Operands operands(rest);
    const std::string_view target = read_operands(in, operands);
    if (!target.empty()) fixups_.push_back({program_.code.size(), target, line_});
    program_.code.push_back(in);
    return has_jump_target(*op) && target.empty() ? "a jump needs a label" : operands.fault();
  }

  std::string read_label(std::string_view name) {
    if (name.empty() || name.find_first_of(" \t,") != std::string_view::npos)
      return fmt::format("'{}' is no name for a label", name);
    if (!labels_.emplace(name, program_.code.size()).second)
      return fmt::format("label '{}' stands twice", name);
    return {};
  }

  std::string read_back_jumps(std::string_view text) {
    const auto count = parse_number(text);
    if (!count || *count > kMaxBackJumps) return fmt::format("'{}' is not a count", text);
    program_.back_jumps = static_cast<std::uint16_t>(*count);
    return {};
  }

  std::string read_pattern(std::string_view text) {
    const auto kind = pattern_kind_by_name(cut(text, ' '));
    auto bytes = unquoted(trimmed(text));
    if (!kind || !bytes) return "a pattern is: .pattern equal|prefix|suffix|glob \"text\"";
    program_.patterns.push_back({*kind, std::move(*bytes)});
    return {};
  }

  Program program_;
  std::map<std::string_view, std::size_t> labels_;
  std::vector<Fixup> fixups_;
  std::size_t line_ = 0;
};

}  // namespace

Result<Program> assemble(std::string_view text) { return Assembler{}.assemble(text); }

}  // namespace glasshook::capture
