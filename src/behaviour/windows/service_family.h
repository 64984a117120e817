// Services that Windows programs make and control.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_service_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
