// Names of Linux capabilities.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glasshook::behaviour {

/// "CAP_SYS_ADMIN", ... for the bits of a capability set (include/uapi/linux/capability.h).
[[nodiscard]] std::vector<std::string> capability_names(std::uint64_t set);

}  // namespace glasshook::behaviour
