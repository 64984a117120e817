#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

/// Keys and values of the registry: made, opened, set, asked for, deleted.
[[nodiscard]] std::unique_ptr<Family> make_registry_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
