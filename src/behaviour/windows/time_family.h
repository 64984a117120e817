// How Windows programs wait and look at the time.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_time_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
