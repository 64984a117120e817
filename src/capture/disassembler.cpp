#include <bit>
#include <cstdlib>
#include <set>

#include "capture/assembler.h"
#include "capture/op_table.h"

namespace glasshook::capture {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (byte < 0x20 || byte >= 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + '"';
}

std::string number(std::uint64_t value) {
  return value < 4096 ? fmt::format("{}", value) : fmt::format("{:#x}", value);
}

std::string source(const Instruction& in) {
  return in.src == kImmediate ? number(in.imm) : fmt::format("r{}", in.src);
}

/// ", kernel", or nothing for the current space.
std::string_view space(std::uint64_t value) {
  return value == static_cast<std::uint64_t>(Space::kernel) ? ", kernel" : "";
}

std::string length(std::uint8_t size) {
  return size == kImmediate ? "-" : fmt::format("r{}", size);
}

std::string address(std::uint8_t base, std::int32_t offset) {
  if (offset == 0) return fmt::format("[r{}]", base);
  const char sign = offset < 0 ? '-' : '+';
  return fmt::format("[r{} {} {}]", base, sign, std::abs(std::int64_t{offset}));
}

std::string operands(const Instruction& in, std::size_t target) {
  switch (op_info(in.op).shape) {
    case Shape::none:
      return {};
    case Shape::load_cpu:
      return fmt::format("r{}, {}", in.dst, cpu_register_name(static_cast<CpuRegister>(in.imm)));
    case Shape::operand:
      return fmt::format("r{}, {}", in.dst, source(in));
    case Shape::load_memory:
      return fmt::format("r{}, {}, {}{}", in.dst, address(in.src, in.offset), in.size,
                         space(in.imm));
    case Shape::sign_extend:
      return fmt::format("r{}, {}", in.dst, in.size);
    case Shape::load_saved:
      return fmt::format("r{}, {}", in.dst, in.imm);
    case Shape::save:
      return fmt::format("{}, r{}", in.imm, in.src);
    case Shape::jump:
      return fmt::format("L{}", target);
    case Shape::compare:
      return fmt::format("r{}, {}, L{}", in.dst, source(in), target);
    case Shape::match:
      return fmt::format("r{}, r{}, {}{}", in.dst, in.src, in.imm, space(in.size));
    case Shape::set_test:
      return fmt::format("r{}, r{}, {}", in.dst, in.src, in.imm);
    case Shape::set_change:
      return fmt::format("r{}, {}", in.src, in.imm);
    case Shape::limit:
      return fmt::format("{}, L{}", in.imm, target);
    case Shape::words:
      return fmt::format("{}, r{}, {}", in.imm, in.dst, in.size);
    case Shape::text:
      return fmt::format("{}, r{}, {}{}", in.imm, in.dst, in.offset, space(in.src));
    case Shape::counted:
      return fmt::format("{}, r{}, {}, {}{}", in.imm, in.dst, length(in.size), in.offset,
                         space(in.src));
    case Shape::begin_list:
      return fmt::format("{}", in.imm);
    case Shape::append:
      return fmt::format("r{}, {}{}", in.dst, in.offset, space(in.src));
    case Shape::end_list:
      return fmt::format("r{}", in.dst);
    case Shape::chain: {
      const auto step = std::bit_cast<ChainStep>(in.imm);
      return fmt::format("r{}, r{}, r{}, {}, {}, {}", in.dst, in.src, in.size, step.next, in.offset,
                         step.max);
    }
  }
  return {};
}

}  // namespace

std::string disassemble(const Program& program) {
  const auto target_of = [&](std::size_t at) {
    return at + 1 + static_cast<std::size_t>(std::int64_t{program.code[at].offset});
  };
  std::set<std::size_t> targets;
  for (std::size_t at = 0; at < program.code.size(); ++at)
    if (has_jump_target(program.code[at].op)) targets.insert(target_of(at));

  std::string out;
  if (program.back_jumps != 0) out += fmt::format(".back_jumps {}\n", program.back_jumps);
  for (const Pattern& pattern : program.patterns)
    out += fmt::format(".pattern {} {}\n", pattern_kind_name(pattern.kind), quoted(pattern.text));
  for (std::size_t at = 0; at < program.code.size(); ++at) {
    const Instruction& in = program.code[at];
    if (targets.contains(at)) out += fmt::format("L{}:\n", at);
    const std::string arguments = operands(in, target_of(at));
    out += fmt::format("  {}{}{}\n", op_info(in.op).name, arguments.empty() ? "" : " ", arguments);
  }
  return out;
}

}  // namespace glasshook::capture
