// The control group of a task.
#pragma once

#include <string>

#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// Path in the cgroup v2 hierarchy, or, where that is the root, in the first v1 hierarchy that
/// puts the task anywhere else. Empty when the kernel has no cgroups.
[[nodiscard]] std::string cgroup_path(const LinuxKernel& kernel, Gva task);

}  // namespace glasshook::linux_guest
