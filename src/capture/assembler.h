// Capture programs as text, for tests, documentation and debugging. The form is described in
// docs/capture-program.md.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "capture/program.h"

namespace glasshook::capture {

/// One instruction a line, jump targets as labels. The program must have passed verify(); then
/// assemble() gives back the same program.
[[nodiscard]] std::string disassemble(const Program& program);

/// Reads that form. ErrorCode::invalid_argument names the line. The program still has to pass
/// verify().
[[nodiscard]] Result<Program> assemble(std::string_view text);

}  // namespace glasshook::capture
