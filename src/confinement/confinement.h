// Walls around a process that reads what a hostile guest wrote.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace glasshook::confinement {

/// Memory of its own that a confined process can have on top of what it has.
inline constexpr std::uint64_t kMostMemory = std::uint64_t{4} << 30;

/// From now on this process, with all its threads, opens no file, connects to nothing, executes
/// nothing, and makes no memory executable: it has what it has opened, kMostMemory, and few more
/// descriptors. It signals no process but itself and `child` (0: none). Root becomes a user of its
/// own (OwnUser). What is refused fails with EPERM or EACCES. Cannot be undone; to be called before
/// the first thread is made, since Landlock binds only the calling one and those it makes.
/// Landlock (Documentation/userspace-api/landlock.rst), seccomp (.../seccomp_filter.rst),
/// no_new_privs. Walls that cannot be made here are named in the result and left out.
[[nodiscard]] Result<std::vector<std::string>> confine(pid_t child = 0);

}  // namespace glasshook::confinement
