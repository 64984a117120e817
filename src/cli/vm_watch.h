// Watching a VM that runs already: watch, and trace --vm.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/event_outputs.h"
#include "cli/watch_options.h"

namespace glasshook::cli {

/// Watches until Ctrl-C, --timeout or the end of the VM. The VM runs on; its hooks are removed.
[[nodiscard]] Result<int> watch_vm(const std::string& vm, const WatchOptions& options,
                                   EventOutputs::Live live, ColorMode color);

}  // namespace glasshook::cli
