#include "capture/machine.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "capture/executable.h"
#include "capture/rate_limiter.h"
#include "capture/run_state.h"
#include "capture/set_table.h"

namespace glasshook::capture {
namespace {

/// A processor register that has less than 64 bits.
[[gnu::noinline]] std::uint64_t cpu_value(const CpuState& cpu, std::uint64_t number) {
  return static_cast<CpuRegister>(number) == CpuRegister::vcpu ? cpu.vcpu : cpu.user_mode;
}

std::uint64_t cpu_word(const CpuState& cpu, std::uint64_t place) {
  std::uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const std::byte*>(&cpu) + place, sizeof value);
  return value;
}

std::int64_t as_signed(std::uint64_t value) { return static_cast<std::int64_t>(value); }

std::uint64_t sign_extended(std::uint64_t value, std::size_t size) {
  const int shift = static_cast<int>(64 - 8 * size);
  return static_cast<std::uint64_t>(as_signed(value << shift) >> shift);
}

}  // namespace

// NOLINTBEGIN(bugprone-macro-parentheses): what stands for labels, types and statements has none.
// To the step `in` points to. A jump at the end of each step, not one for all, lets the processor
// foresee where it goes, and saves a third of the instructions.
#define GLASSHOOK_GO goto* kSteps[static_cast<std::size_t>(in->code)]
#define GLASSHOOK_NEXT \
  do {                 \
    ++in;              \
    GLASSHOOK_GO;      \
  } while (false)
#define GLASSHOOK_NEXT_OR_TARGET(jumps) \
  do {                                  \
    in = (jumps) ? in->target : in + 1; \
    GLASSHOOK_GO;                       \
  } while (false)
// Both forms of an operation: `effect` sees `left`, a register, and `right`, a register or the
// immediate.
#define GLASSHOOK_BOTH(name, effect)        \
  name: {                                   \
    std::uint64_t& left = r[in->dst];       \
    const std::uint64_t right = r[in->src]; \
    effect;                                 \
  }                                         \
  name##_immediate : {                      \
    std::uint64_t& left = r[in->dst];       \
    const std::uint64_t right = in->imm;    \
    effect;                                 \
  }
// A load alone. A program's memory lies in single pages, the kernel's in large ones.
#define GLASSHOOK_LOAD(find, space)                                         \
  do {                                                                      \
    const Gva from = RunState::address_of(*in, r[in->src]);                 \
    const std::byte* host = nullptr;                                        \
    if (!state.reader().find(from, kLoadBytes, space, host)) [[unlikely]] { \
      r[in->dst] = state.load(*in, from, space);                            \
      GLASSHOOK_NEXT;                                                       \
    }                                                                       \
    r[in->dst] = RunState::value_at(*in, host);                             \
    GLASSHOOK_NEXT;                                                         \
  } while (false)
// Finds the object that several loads are from; where it lies apart they are done one by one.
#define GLASSHOOK_OBJECT                                                                      \
  if (!state.find_object(*in, r[in->src], object)) [[unlikely]] {                             \
    if (object = state.look_for_object(*in, r[in->src]); object == nullptr) goto load_kernel; \
  }
// A load from the object that was found.
#define GLASSHOOK_MEMBER r[in->dst] = RunState::value_at(*in, object + in->offset)
#define GLASSHOOK_VALUE(name, effect) GLASSHOOK_BOTH(name, effect; GLASSHOOK_NEXT)
#define GLASSHOOK_JUMP(name, condition) GLASSHOOK_BOTH(name, GLASSHOOK_NEXT_OR_TARGET(condition))

RunResult run(const Executable& program, const CpuState& cpu, const Environment& environment,
              SavedSlots& saved, const RecordHeader& header, Workspace& work) noexcept {
#define GLASSHOOK_LABEL(name) &&name,
#define GLASSHOOK_LABELS(name) &&name, &&name##_immediate,
  static const void* const kSteps[] = {GLASSHOOK_STEPS(GLASSHOOK_LABEL, GLASSHOOK_LABELS)};
#undef GLASSHOOK_LABELS
#undef GLASSHOOK_LABEL

  RunState state(cpu, environment, work);
  std::array<std::uint64_t, kRegisterCount> r;
  // In halves, of which the compiler makes no loop.
  std::fill_n(r.begin(), kRegisterCount / 2, 0);
  std::fill_n(r.begin() + kRegisterCount / 2, kRegisterCount / 2, 0);
  const std::byte* object = nullptr;  // what is being loaded from
  std::uint32_t back_jumps = program.back_jumps();
  bool limited = false;
  bool armed = false;
  const Step* in = program.begin();

  GLASSHOOK_GO;

  GLASSHOOK_VALUE(move, left = right)
  GLASSHOOK_VALUE(add, left += right)
  GLASSHOOK_VALUE(sub, left -= right)
  GLASSHOOK_VALUE(bit_and, left &= right)
  GLASSHOOK_VALUE(bit_or, left |= right)
  GLASSHOOK_VALUE(bit_xor, left ^= right)
  GLASSHOOK_VALUE(shift_left, left <<= right & 63)
  GLASSHOOK_VALUE(shift_right, left >>= right & 63)
  GLASSHOOK_VALUE(multiply, left *= right)
  GLASSHOOK_JUMP(jump_eq, left == right)
  GLASSHOOK_JUMP(jump_ne, left != right)
  GLASSHOOK_JUMP(jump_lt, left < right)
  GLASSHOOK_JUMP(jump_le, left <= right)
  GLASSHOOK_JUMP(jump_gt, left > right)
  GLASSHOOK_JUMP(jump_ge, left >= right)
  GLASSHOOK_JUMP(jump_signed_lt, as_signed(left) < as_signed(right))
  GLASSHOOK_JUMP(jump_signed_ge, as_signed(left) >= as_signed(right))
  GLASSHOOK_JUMP(jump_any_bit, (left & right) != 0)

load_cpu:
  r[in->dst] = cpu_value(cpu, in->imm);
  GLASSHOOK_NEXT;
load_cpu_word:
  r[in->dst] = cpu_word(cpu, in->imm);
  GLASSHOOK_NEXT;
load_memory:
  GLASSHOOK_LOAD(find_in_page, Space::current);
load_four_kernel:
  GLASSHOOK_OBJECT;
  GLASSHOOK_MEMBER;
  ++in;
  goto three_members;
load_three_kernel:
  GLASSHOOK_OBJECT;
three_members:
  GLASSHOOK_MEMBER;
  ++in;
  goto two_members;
load_two_kernel:
  GLASSHOOK_OBJECT;
two_members:
  GLASSHOOK_MEMBER;
  ++in;
  GLASSHOOK_MEMBER;
  GLASSHOOK_NEXT;
load_kernel:
  GLASSHOOK_LOAD(find_in_region, Space::kernel);
sign_extend:
  r[in->dst] = sign_extended(r[in->dst], in->size);
  GLASSHOOK_NEXT;
load_saved:
  r[in->dst] = saved[in->imm];
  GLASSHOOK_NEXT;
save:
  saved[in->imm] = r[in->src];
  GLASSHOOK_NEXT;

jump:
  in = in->target;
  GLASSHOOK_GO;
move_and_back:
  r[in->dst] = r[in->src];
  ++in;
jump_back:
  if (back_jumps-- == 0) goto out_of_budget;
  in = in->target;
  GLASSHOOK_GO;
jump_fault:
  GLASSHOOK_NEXT_OR_TARGET(state.take_fault());

match_string:
  r[in->dst] = state.match(r[in->src], Space{in->size}, program.pattern(in->imm)) ? 1 : 0;
  if (state.match_budget_used()) goto out_of_budget;
  GLASSHOOK_NEXT;
set_has:
  r[in->dst] =
      environment.sets && environment.sets->has(static_cast<std::uint32_t>(in->imm), r[in->src])
          ? 1
          : 0;
  GLASSHOOK_NEXT;
set_add:
  if (environment.sets) environment.sets->add(static_cast<std::uint32_t>(in->imm), r[in->src]);
  GLASSHOOK_NEXT;
set_remove:
  if (environment.sets) environment.sets->remove(static_cast<std::uint32_t>(in->imm), r[in->src]);
  GLASSHOOK_NEXT;
rate_limit:
  if (environment.limiters &&
      !environment.limiters->take(static_cast<std::uint32_t>(in->imm), header.timestamp)) {
    limited = true;
    in = in->target;
    GLASSHOOK_GO;
  }
  GLASSHOOK_NEXT;

emit_word:
  state.emit_word(*in, r[in->dst]);
  GLASSHOOK_NEXT;
emit_words:
  state.emit_words(*in, &r[in->dst]);
  GLASSHOOK_NEXT;
emit_string:
  state.emit_text(*in, FieldKind::string, r[in->dst]);
  GLASSHOOK_NEXT;
emit_utf16:
  if (in->size == kImmediate)
    state.emit_text(*in, FieldKind::utf16, r[in->dst]);
  else
    state.emit_counted(*in, FieldKind::utf16, r[in->dst], r[in->size]);
  GLASSHOOK_NEXT;
emit_bytes:
  state.emit_counted(*in, FieldKind::bytes, r[in->dst],
                     in->size == kImmediate ? static_cast<std::uint64_t>(in->offset) : r[in->size]);
  GLASSHOOK_NEXT;
begin_list:
  state.begin_list(*in);
  GLASSHOOK_NEXT;
append_string:
  if (!state.append_known_string(Gva{r[in->dst]}, Space{in->src},
                                 static_cast<std::size_t>(in->offset), in->imm)) [[unlikely]]
    state.append_string(Gva{r[in->dst]}, Space{in->src}, static_cast<std::size_t>(in->offset));
  GLASSHOOK_NEXT;
append_chain:
  if (back_jumps = state.append_chain(*in, r, back_jumps); back_jumps == RunState::kNoJumps)
    goto out_of_budget;
  GLASSHOOK_NEXT;
end_list:
  state.end_list(static_cast<std::uint8_t>(r[in->dst]));
  GLASSHOOK_NEXT;

arm_return:
  armed = true;
  GLASSHOOK_NEXT;
send:
  return {.outcome = Outcome::sent, .return_armed = armed, .record_size = state.finish(header)};
stop:
  return {.outcome = limited ? Outcome::rate_limited : Outcome::stopped,
          .return_armed = armed,
          .record_size = 0};
out_of_budget:
  state.cut();
  return {.outcome = Outcome::budget, .return_armed = armed, .record_size = state.finish(header)};
}

#undef GLASSHOOK_JUMP
#undef GLASSHOOK_VALUE
#undef GLASSHOOK_LOAD
#undef GLASSHOOK_MEMBER
#undef GLASSHOOK_OBJECT
#undef GLASSHOOK_BOTH
#undef GLASSHOOK_NEXT_OR_TARGET
#undef GLASSHOOK_NEXT
#undef GLASSHOOK_GO
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace glasshook::capture
