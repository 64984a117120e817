// Decides whether a capture program may run.
#pragma once

#include "base/result.h"
#include "capture/program.h"

namespace glasshook::capture {

/// When a program runs; decides which operations it may use.
enum class ProgramRole : std::uint8_t {
  entry,    ///< at a function's entry: may save values and arm its return
  exit,     ///< at the return of an armed call: may load what the entry saved
  context,  ///< with page questions: neither
};

/// Checks everything run() relies on: known operations, every register, size, space, slot, set,
/// limiter, pattern and cap in range, unused fields zero, jumps that land on an instruction in
/// their direction, no way to fall off the end, and list fields opened, filled and closed in order
/// on every path. A program that passes ends after at most (back_jumps + 1) * code.size()
/// instructions, because between two backward jumps the position only grows.
/// ErrorCode::invalid_argument names the instruction and the rule.
[[nodiscard]] Result<> verify(const Program& program, ProgramRole role);

}  // namespace glasshook::capture
