// Named objects that Windows programs make and open: mutexes, events, semaphores, pipes.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_object_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
