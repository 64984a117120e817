// The end of a session in words: what happened how often, and what was not seen.
#pragma once

#include <string>

#include "output/output.h"

namespace glasshook::output {

/// Several lines, each with its newline: counts an action, losses, missing hooks and, when asked
/// for, the counters of every hook.
[[nodiscard]] std::string render_summary(const Summary& summary, const TreeOptions& options);

}  // namespace glasshook::output
