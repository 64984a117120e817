// Keys that Windows programs make.
#pragma once

#include <memory>

#include "behaviour/family.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

[[nodiscard]] std::unique_ptr<Family> make_crypto_family(std::shared_ptr<Objects> objects);

}  // namespace glasshook::behaviour::windows
