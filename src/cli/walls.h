// What holds the monitor in while it reads what a guest wrote.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glasshook::cli {

/// Confines this process for the rest of its life (confinement::confine): to be called when all it
/// needs is open. It can still end `child`, if it has one. Says what this machine's kernel cannot
/// do.
Result<> raise_walls(pid_t child = 0);

/// Says on one line which walls are missing, if any.
void note_missing_walls(std::string_view who, const std::vector<std::string>& walls);

}  // namespace glasshook::cli
