// Where a call of a function may end: its own `ret` instructions, and those of functions it
// jumps to last (tail calls). Serves shared objects and the kernel alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "guest/elf/elf_module.h"
#include "guest/elf/image.h"

namespace glasshook::elf {

/// What lies at the target of a jump out of a function.
enum class JumpTarget : std::uint8_t {
  code,            ///< another function: a tail call
  return_thunk,    ///< the kernel's __x86_return_thunk: the jump is a return
  indirect_thunk,  ///< the kernel's __x86_indirect_thunk_*: an indirect jump
};

/// The code to look at. Addresses are whatever the callbacks agree on.
struct CodeView {
  /// Copies code; false when any byte is missing.
  std::function<bool(std::uint64_t address, std::span<std::byte> out)> read;
  /// The function that holds an address, or empty.
  std::function<std::optional<Extent>(std::uint64_t address)> function_at;
  /// May be empty: all jumps lead to code.
  std::function<JumpTarget(std::uint64_t address)> classify;
};

/// The code of a module. Borrows it.
[[nodiscard]] CodeView code_of(const ElfModule& module);

struct ReturnExtents {
  static constexpr std::size_t kMaxRanges = 16;

  /// Code whose returns may end a call. The first is the function's own; empty when its end is
  /// unknown, or when it is nothing but a jump through a slot.
  std::vector<Extent> ranges;
  /// The instructions in them that return, ascending within a range. None of a range whose code
  /// could not be decoded to its end, or jumps into the middle of what was decoded.
  std::vector<std::uint64_t> places;
  /// Addresses of the pointers that `jmp [rip + d]` goes through (PLT stubs, tail calls through
  /// the GOT); what they hold is known at run time only.
  std::vector<std::uint64_t> tail_call_slots;
  /// Tail calls that were not followed: through slots, thunks, or to code in no known function.
  std::uint32_t unresolved_tail_calls = 0;
  /// `jmp reg` and `jmp [reg + ...]`: a switch or, rarely, a tail call.
  std::uint32_t indirect_jumps = 0;
  /// Code was missing or too long, or there were more than kMaxRanges ranges.
  bool incomplete = false;
};

/// Follows direct jumps out of the function at `function`, transitively.
[[nodiscard]] ReturnExtents find_return_extents(const CodeView& code, std::uint64_t function);

/// The implementations an ifunc resolver chooses from: functions whose address it takes. Which of
/// them runs depends on the processor, so all are candidates for a hook.
[[nodiscard]] std::vector<std::uint64_t> ifunc_candidates(const CodeView& code,
                                                          std::uint64_t resolver);

}  // namespace glasshook::elf
