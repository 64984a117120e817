// What holds the monitor in while it reads what a guest wrote.
#pragma once

#include "base/result.h"

namespace glasshook::cli {

/// Confines this process for the rest of its life (confinement::confine): to be called when all it
/// needs is open. Says what this machine's kernel cannot do.
Result<> raise_walls();

}  // namespace glasshook::cli
