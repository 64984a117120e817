// A verified program in the form that run() takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "capture/program.h"

namespace glasshook::capture {

// What run() can do in one step, in the order of its table. Most are an operation whose operand is
// known to be a register or the immediate; loads know their space; the last four do the work of
// several instructions.
// clang-format off: it would move the lines each time
#define GLASSHOOK_STEPS(ONE, BOTH)                                                                \
  BOTH(move) BOTH(add) BOTH(sub) BOTH(bit_and) BOTH(bit_or) BOTH(bit_xor) BOTH(shift_left)        \
  BOTH(shift_right) BOTH(multiply) BOTH(jump_eq) BOTH(jump_ne) BOTH(jump_lt) BOTH(jump_le)        \
  BOTH(jump_gt) BOTH(jump_ge) BOTH(jump_signed_lt) BOTH(jump_signed_ge) BOTH(jump_any_bit)        \
  ONE(load_cpu) ONE(load_cpu_word) ONE(load_memory) ONE(load_kernel) ONE(sign_extend)             \
  ONE(load_saved) ONE(save) ONE(jump) ONE(jump_back) ONE(jump_fault) ONE(match_string)            \
  ONE(set_has) ONE(set_add) ONE(set_remove) ONE(rate_limit) ONE(emit_word) ONE(emit_words)        \
  ONE(emit_string) ONE(emit_utf16) ONE(emit_bytes) ONE(begin_list) ONE(append_string)             \
  ONE(end_list) ONE(arm_return) ONE(send) ONE(stop) ONE(load_two_kernel) ONE(load_three_kernel)   \
  ONE(append_chain) ONE(load_four_kernel) ONE(move_and_back)
// clang-format on

enum class StepCode : std::uint8_t {
#define GLASSHOOK_ONE(name) name,
#define GLASSHOOK_BOTH(name) name, name##_immediate,
  GLASSHOOK_STEPS(GLASSHOOK_ONE, GLASSHOOK_BOTH)
#undef GLASSHOOK_BOTH
#undef GLASSHOOK_ONE
};

/// What several loads read, relative to where the object of all of them begins.
struct LoadedExtent {
  std::int32_t first;
  std::uint32_t bytes;
};

/// An Instruction made ready. Each stands where its instruction stood: a step that does the work of
/// the next one too passes over it, and a jump to that next one still finds it.
struct Step {
  StepCode code = StepCode::stop;
  std::uint8_t dst = 0;
  std::uint8_t src = 0;
  std::uint8_t size = 0;
  std::int32_t offset = 0;
  /// As in the instruction, but: of load_cpu_word the place in CpuState, of loads from memory a
  /// mask of the bytes that count, of words the field's header, of append_string the bytes to have
  /// room.
  std::uint64_t imm = 0;
  union {
    const Step* target = nullptr;  ///< of jumps
    LoadedExtent together;         ///< of several loads, which append_chain does too
  };
};

/// What run() runs. Immutable; may be shared by threads.
class Executable {
 public:
  /// Ends at once, with nothing sent.
  Executable();
  /// `program` has passed verify().
  explicit Executable(const Program& program);
  Executable(Executable&&) = default;  // the steps stay where they are
  Executable& operator=(Executable&&) = default;
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  ~Executable() = default;

  [[nodiscard]] const Step* begin() const noexcept { return steps_.data(); }
  [[nodiscard]] const Pattern& pattern(std::uint64_t index) const noexcept {
    return patterns_[index];
  }
  [[nodiscard]] std::uint32_t back_jumps() const noexcept { return back_jumps_; }
  /// True when a run looks at the time of the hit.
  [[nodiscard]] bool uses_time() const noexcept { return uses_time_; }

 private:
  std::vector<Step> steps_;
  std::vector<Pattern> patterns_;
  std::uint32_t back_jumps_ = 0;
  bool uses_time_ = false;
};

}  // namespace glasshook::capture
