// Connections that Windows programs make, await and accept.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_network_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
