#include "capture/op_table.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace glasshook::capture {
namespace {

constexpr auto kOps = std::to_array<OpInfo>({
    {"load_cpu", Shape::load_cpu},
    {"move", Shape::operand},
    {"add", Shape::operand},
    {"sub", Shape::operand},
    {"bit_and", Shape::operand},
    {"bit_or", Shape::operand},
    {"bit_xor", Shape::operand},
    {"shift_left", Shape::operand},
    {"shift_right", Shape::operand},
    {"multiply", Shape::operand},
    {"load_memory", Shape::load_memory},
    {"sign_extend", Shape::sign_extend},
    {"load_saved", Shape::load_saved},
    {"save", Shape::save},
    {"jump", Shape::jump},
    {"jump_back", Shape::jump},
    {"jump_eq", Shape::compare},
    {"jump_ne", Shape::compare},
    {"jump_lt", Shape::compare},
    {"jump_le", Shape::compare},
    {"jump_gt", Shape::compare},
    {"jump_ge", Shape::compare},
    {"jump_signed_lt", Shape::compare},
    {"jump_signed_ge", Shape::compare},
    {"jump_any_bit", Shape::compare},
    {"jump_fault", Shape::jump},
    {"match_string", Shape::match},
    {"set_has", Shape::set_test},
    {"set_add", Shape::set_change},
    {"set_remove", Shape::set_change},
    {"rate_limit", Shape::limit},
    {"emit_words", Shape::words},
    {"emit_string", Shape::text},
    {"emit_utf16", Shape::counted},
    {"emit_bytes", Shape::counted},
    {"begin_list", Shape::begin_list},
    {"append_string", Shape::append},
    {"end_list", Shape::end_list},
    {"arm_return", Shape::none},
    {"send", Shape::none},
    {"stop", Shape::none},
    {"append_chain", Shape::chain},
});
static_assert(kOps.size() == static_cast<std::size_t>(Op::count_));

constexpr auto kCpuRegisters = std::to_array<std::string_view>({
    "rax",     "rcx",     "rdx",       "rbx",  "rsp",       "rbp",   "rsi",      "rdi",     "r8",
    "r9",      "r10",     "r11",       "r12",  "r13",       "r14",   "r15",      "rip",     "cr3",
    "fs_base", "gs_base", "kernel_gs", "vcpu", "user_mode", "lstar", "idt_base", "operand",
});
static_assert(kCpuRegisters.size() == static_cast<std::size_t>(CpuRegister::count_));

constexpr auto kPatternKinds =
    std::to_array<std::string_view>({"equal", "prefix", "suffix", "glob"});

/// The enumerator whose name stands at that place of the table.
template <class Enum, std::size_t N>
std::optional<Enum> by_name(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

}  // namespace

const OpInfo& op_info(Op op) noexcept { return kOps[static_cast<std::size_t>(op)]; }

std::optional<Op> op_by_name(std::string_view name) noexcept {
  const auto found = std::ranges::find(kOps, name, &OpInfo::name);
  if (found == kOps.end()) return std::nullopt;
  return static_cast<Op>(found - kOps.begin());
}

bool has_jump_target(Op op) noexcept {
  const Shape shape = op_info(op).shape;
  return shape == Shape::jump || shape == Shape::compare || shape == Shape::limit;
}

std::string_view pattern_kind_name(PatternKind kind) noexcept {
  return kPatternKinds[static_cast<std::size_t>(kind)];
}

std::optional<PatternKind> pattern_kind_by_name(std::string_view name) noexcept {
  return by_name<PatternKind>(kPatternKinds, name);
}

std::string_view cpu_register_name(CpuRegister reg) noexcept {
  return kCpuRegisters[static_cast<std::size_t>(reg)];
}

std::optional<CpuRegister> cpu_register_by_name(std::string_view name) noexcept {
  return by_name<CpuRegister>(kCpuRegisters, name);
}

}  // namespace glasshook::capture
