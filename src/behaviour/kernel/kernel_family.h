// The kernel itself: modules and BPF programs put into it.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_kernel_family();

}  // namespace glasshook::behaviour
