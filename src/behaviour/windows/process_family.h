// Processes that Windows programs create, open and end.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_process_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
