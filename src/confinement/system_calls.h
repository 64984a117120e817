// The system calls that are left to a confined process.
#pragma once

#include "base/result.h"

namespace glasshook::confinement {

/// Refuses all others, with EPERM, to all threads of this process. ErrorCode::unsupported where the
/// kernel has no seccomp filters.
[[nodiscard]] Result<> filter_system_calls();

}  // namespace glasshook::confinement
