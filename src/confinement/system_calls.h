// The system calls that are left to a confined process, and to a program in a cage.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <vector>

#include "base/result.h"

namespace glasshook::confinement {

/// Refuses all others, with EPERM, to all threads of this process. Signals go to itself and to
/// `child` (0: none). ErrorCode::unsupported where the kernel has no seccomp filters.
[[nodiscard]] Result<> filter_system_calls(pid_t child);

/// A filter for a program that is to be started: sockets, io_uring, namespaces, mounts, keys, and
/// other processes' memory are refused with EPERM; what it needs otherwise is not known here.
[[nodiscard]] Result<std::vector<sock_filter>> caged_filter();

}  // namespace glasshook::confinement
