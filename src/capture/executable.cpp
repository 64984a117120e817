#include "capture/executable.h"

#include <algorithm>
#include <span>

#include "capture/op_table.h"

namespace glasshook::capture {
namespace {

constexpr std::uint64_t kGeneralRegisters = 16;

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
    GLASSHOOK_NAMED(arm_return)
    GLASSHOOK_NAMED(send)
#undef GLASSHOOK_NAMED
    case Op::stop:
    case Op::count_:
      break;
  }
  return StepCode::stop;
}

bool is_kernel_word(const Instruction& in) {
  return in.op == Op::load_memory && in.size == sizeof(std::uint64_t) &&
         Space{static_cast<std::uint8_t>(in.imm)} == Space::kernel;
}

/// The step for the first of `code` alone.
StepCode single_code(const Instruction& in) {
  const StepCode named = code_by_name(in.op);
  switch (op_info(in.op).shape) {
    case Shape::operand:
    case Shape::compare:
      return in.src == kImmediate ? StepCode{static_cast<std::uint8_t>(static_cast<int>(named) + 1)}
                                  : named;
    case Shape::load_cpu:
      return in.imm < kGeneralRegisters ? StepCode::load_general : named;
    case Shape::load_memory:
      if (is_kernel_word(in)) return StepCode::load_kernel_word;
      return in.size == sizeof(std::uint64_t) ? StepCode::load_word : named;
    default:
      return named;
  }
}

/// The same, or the step that does what follows too: programs are full of loads of pointers one
/// after the other, and every loop has an end.
StepCode best_code(std::span<const Instruction> code) {
  const StepCode single = single_code(code[0]);
  if (code.size() == 1) return single;
  if (is_kernel_word(code[0]) && is_kernel_word(code[1])) return StepCode::load_two_kernel_words;
  if (single == StepCode::move && code[1].op == Op::jump_back) return StepCode::move_and_back;
  return single;
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
    const Instruction& in = code[i];
    Step& step = steps_[i];
    step = {.code = best_code(code.subspan(i)),
            .dst = in.dst,
            .src = in.src,
            .size = in.size,
            .offset = in.offset,
            .imm = in.imm};
    if (has_jump_target(in.op)) step.target = &step + 1 + in.offset;
    if (in.op == Op::load_memory && in.size == sizeof(std::uint64_t))
      step.imm = static_cast<std::uint64_t>(std::int64_t{in.offset});
  }
}

}  // namespace glasshook::capture
