// Names that Windows programs look up, and web pages that they ask for.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_request_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
