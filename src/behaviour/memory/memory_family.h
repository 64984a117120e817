// Code that runs from memory that belongs to no file.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_memory_family();

}  // namespace glasshook::behaviour
