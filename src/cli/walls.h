// What holds the monitor in while it reads what a guest wrote.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace glasshook::cli {

/// Confines this process for the rest of its life (confinement::confine): to be called when all it
/// needs is open. It can still end `child`, if it has one. Says what this machine's kernel cannot
/// do.
Result<> raise_walls(pid_t child = 0);

}  // namespace glasshook::cli
