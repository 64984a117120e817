// The same program, written so that no two instructions can be done in one step.
#pragma once

#include <algorithm>

#include "capture/op_table.h"
#include "capture/program.h"

namespace glasshook::capture {

/// The program with a jump to the next instruction behind each. It may be longer than verify()
/// allows.
inline Program spread(const Program& program) {
  Program out{.code = {}, .patterns = program.patterns, .back_jumps = program.back_jumps};
  for (Instruction in : program.code) {
    if (has_jump_target(in.op)) in.offset = 2 * in.offset + 1;
    out.code.push_back(in);
    out.code.push_back({.op = Op::jump});
  }
  out.code.pop_back();
  return out;
}

/// True when a run leaves something behind that the next one sees.
inline bool has_memory(const Program& program) {
  return std::ranges::any_of(program.code, [](const Instruction& in) {
    return in.op == Op::set_has || in.op == Op::set_add || in.op == Op::set_remove ||
           in.op == Op::rate_limit;
  });
}

}  // namespace glasshook::capture
