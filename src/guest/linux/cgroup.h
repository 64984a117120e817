// Control groups.
#pragma once

#include <string>

#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// Path in the cgroup v2 hierarchy, or, where that is the root, in the first v1 hierarchy that
/// puts the tasks of the `struct css_set` anywhere else. Empty when there is none at that address.
[[nodiscard]] std::string cgroup_path(const LinuxKernel& kernel, Gva css_set);

}  // namespace glasshook::linux_guest
