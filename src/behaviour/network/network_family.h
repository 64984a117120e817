// The network: connections made, awaited and accepted, what went over them, names asked for.
#pragma once

#include <memory>

#include "behaviour/family.h"

namespace glasshook::behaviour {

[[nodiscard]] std::unique_ptr<Family> make_network_family();

}  // namespace glasshook::behaviour
