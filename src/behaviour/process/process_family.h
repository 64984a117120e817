// Processes: born, given a program, gone; their credentials and the signals they send.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_process_family();

}  // namespace glasshook::behaviour
