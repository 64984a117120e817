#include "capture/executable.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <optional>
#include <span>

#include "capture/machine.h"
#include "capture/op_table.h"
#include "capture/run_state.h"

namespace glasshook::capture {
namespace {

/// Of operations whose steps have the same names; immediate forms follow their register forms.
StepCode code_by_name(Op op) {
  switch (op) {
#define GLASSHOOK_NAMED(name) \
  case Op::name:              \
    return StepCode::name;
    GLASSHOOK_NAMED(load_cpu)
    GLASSHOOK_NAMED(move)
    GLASSHOOK_NAMED(add)
    GLASSHOOK_NAMED(sub)
    GLASSHOOK_NAMED(bit_and)
    GLASSHOOK_NAMED(bit_or)
    GLASSHOOK_NAMED(bit_xor)
    GLASSHOOK_NAMED(shift_left)
    GLASSHOOK_NAMED(shift_right)
    GLASSHOOK_NAMED(multiply)
    GLASSHOOK_NAMED(load_memory)
    GLASSHOOK_NAMED(sign_extend)
    GLASSHOOK_NAMED(load_saved)
    GLASSHOOK_NAMED(save)
    GLASSHOOK_NAMED(jump)
    GLASSHOOK_NAMED(jump_back)
    GLASSHOOK_NAMED(jump_eq)
    GLASSHOOK_NAMED(jump_ne)
    GLASSHOOK_NAMED(jump_lt)
    GLASSHOOK_NAMED(jump_le)
    GLASSHOOK_NAMED(jump_gt)
    GLASSHOOK_NAMED(jump_ge)
    GLASSHOOK_NAMED(jump_signed_lt)
    GLASSHOOK_NAMED(jump_signed_ge)
    GLASSHOOK_NAMED(jump_any_bit)
    GLASSHOOK_NAMED(jump_fault)
    GLASSHOOK_NAMED(match_string)
    GLASSHOOK_NAMED(set_has)
    GLASSHOOK_NAMED(set_add)
    GLASSHOOK_NAMED(set_remove)
    GLASSHOOK_NAMED(rate_limit)
    GLASSHOOK_NAMED(emit_words)
    GLASSHOOK_NAMED(emit_string)
    GLASSHOOK_NAMED(emit_utf16)
    GLASSHOOK_NAMED(emit_bytes)
    GLASSHOOK_NAMED(begin_list)
    GLASSHOOK_NAMED(append_string)
    GLASSHOOK_NAMED(end_list)
    GLASSHOOK_NAMED(append_chain)
    GLASSHOOK_NAMED(arm_return)
    GLASSHOOK_NAMED(send)
#undef GLASSHOOK_NAMED
    case Op::stop:
    case Op::count_:
      break;
  }
  return StepCode::stop;
}

/// Where a register is in CpuState, if it has 64 bits there.
std::optional<std::size_t> place_in_state(CpuRegister reg) {
  switch (reg) {
    case CpuRegister::rip:
      return offsetof(CpuState, rip);
    case CpuRegister::cr3:
      return offsetof(CpuState, space.root.value);
    case CpuRegister::fs_base:
      return offsetof(CpuState, fs_base);
    case CpuRegister::gs_base:
      return offsetof(CpuState, gs_base);
    case CpuRegister::kernel_gs:
      return offsetof(CpuState, kernel_gs);
    case CpuRegister::lstar:
      return offsetof(CpuState, lstar);
    case CpuRegister::idt_base:
      return offsetof(CpuState, idt_base);
    case CpuRegister::operand:
      return offsetof(CpuState, operand);
    case CpuRegister::vcpu:
    case CpuRegister::user_mode:
    case CpuRegister::count_:
      return std::nullopt;
    default:
      return offsetof(CpuState, gpr) + static_cast<std::size_t>(reg) * sizeof(std::uint64_t);
  }
}

bool is_kernel_load(const Instruction& in) {
  return in.op == Op::load_memory && Space{static_cast<std::uint8_t>(in.imm)} == Space::kernel;
}

/// The step for `in` alone.
StepCode single_code(const Instruction& in) {
  const StepCode named = code_by_name(in.op);
  switch (op_info(in.op).shape) {
    case Shape::operand:
    case Shape::compare:
      return in.src == kImmediate ? StepCode{static_cast<std::uint8_t>(static_cast<int>(named) + 1)}
                                  : named;
    case Shape::load_cpu:
      return place_in_state(static_cast<CpuRegister>(in.imm)) ? StepCode::load_cpu_word : named;
    case Shape::load_memory:
      return is_kernel_load(in) ? StepCode::load_kernel : named;
    case Shape::words:
      return in.size == 1 ? StepCode::emit_word : named;
    default:
      return named;
  }
}

/// Of loads whose offsets lie between these.
LoadedExtent extent_of(std::int64_t first, std::int64_t last) {
  return {.first = static_cast<std::int32_t>(first),
          .bytes = static_cast<std::uint32_t>(last - first + std::int64_t{kLoadBytes})};
}

/// How many loads at the beginning of `code` take members of one and the same object of the
/// kernel's, and what they read: it is looked for once.
std::size_t loads_together(std::span<const Instruction> code, LoadedExtent& extent) {
  constexpr std::size_t kMost = 4;
  constexpr std::int64_t kMostBytes = 4 * kPageSize;
  std::int64_t first = 0, last = 0;
  std::size_t count = 0;
  for (const Instruction& in : code.first(std::min(code.size(), kMost))) {
    if (!is_kernel_load(in) || in.src != code[0].src) break;
    const std::int64_t at = in.offset;
    const std::int64_t lowest = count == 0 ? at : std::min(first, at);
    const std::int64_t highest = count == 0 ? at : std::max(last, at);
    if (highest - lowest > kMostBytes) break;
    first = lowest;
    last = highest;
    ++count;
    if (in.dst == in.src) break;
  }
  extent = extent_of(first, last);
  return count;
}

/// What the step has in place of the immediate.
std::uint64_t prepared_immediate(const Instruction& in) {
  switch (in.op) {
    case Op::load_cpu:
      return place_in_state(static_cast<CpuRegister>(in.imm)).value_or(in.imm);
    case Op::load_memory:
      return ~std::uint64_t{0} >> (64 - 8 * in.size);
    case Op::emit_words:
      return std::bit_cast<std::uint64_t>(
          FieldHeader{.id = static_cast<std::uint16_t>(in.imm),
                      .kind = FieldKind::words,
                      .length = static_cast<std::uint16_t>(in.size * sizeof(std::uint64_t))});
    case Op::append_string:
      return RunState::room_to_append(static_cast<std::size_t>(in.offset));
    default:
      return in.imm;
  }
}

/// The step at the beginning of `code`, which may do what follows too: programs are full of loads
/// of pointers one after the other, and every loop has an end.
Step made_ready(std::span<const Instruction> code) {
  const Instruction& in = code[0];
  Step step;
  step.code = single_code(in);
  step.dst = in.dst;
  step.src = in.src;
  step.size = in.size;
  step.offset = in.offset;
  step.imm = prepared_immediate(in);
  if (is_kernel_load(in)) {
    constexpr StepCode kLoads[] = {StepCode::load_kernel, StepCode::load_two_kernel,
                                   StepCode::load_three_kernel, StepCode::load_four_kernel};
    step.code = kLoads[loads_together(code, step.together) - 1];
  }
  if (in.op == Op::append_chain) {
    const std::int32_t next = std::bit_cast<ChainStep>(in.imm).next;
    step.together = extent_of(std::min(next, in.offset), std::max(next, in.offset));
  }
  if (step.code == StepCode::move && code.size() > 1 && code[1].op == Op::jump_back)
    step.code = StepCode::move_and_back;
  return step;
}

}  // namespace

Executable::Executable() : steps_(1) {}

Executable::Executable(const Program& program)
    : patterns_(program.patterns),
      back_jumps_(program.back_jumps),
      uses_time_(std::ranges::any_of(
          program.code, [](const Instruction& in) { return in.op == Op::rate_limit; })) {
  const std::span code{program.code};
  steps_.resize(code.size());
  for (std::size_t i = 0; i < code.size(); ++i) {
    steps_[i] = made_ready(code.subspan(i));
    if (has_jump_target(code[i].op)) steps_[i].target = &steps_[i] + 1 + code[i].offset;
  }
}

}  // namespace glasshook::capture
