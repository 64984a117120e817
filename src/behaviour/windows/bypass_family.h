// Functions of ntdll that run from somewhere else than ntdll.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_bypass_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
