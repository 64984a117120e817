// What Windows programs do to other processes: their memory, threads and handles, and the whole.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_injection_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
