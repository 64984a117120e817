// System calls made without the C library.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_bypass_family();

}  // namespace glasshook::behaviour
