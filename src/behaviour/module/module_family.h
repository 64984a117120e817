// Shared objects that processes load.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_module_family();

}  // namespace glasshook::behaviour
