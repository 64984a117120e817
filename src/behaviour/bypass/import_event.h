// The event of an import that leads elsewhere, alike for Linux and Windows.
#pragma once

#include <chrono>
#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

/// `import_replaced`, with the process it was found in.
[[nodiscard]] Event import_event(const std::shared_ptr<const Process>& process,
                                 const ReplacedImport& replaced,
                                 std::chrono::system_clock::time_point time);

}  // namespace glasshook::behaviour
