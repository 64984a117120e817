// Walls around a process that reads what a hostile guest wrote.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace glasshook::confinement {

/// From now on this process, with all its threads, opens no file, connects to nothing, executes
/// nothing, and makes no memory executable: it has what it has opened. Its own children can be
/// ended and waited for. What is refused fails with EPERM or EACCES. Cannot be undone; to be called
/// before the first thread is made, since Landlock binds only the calling one and those it makes.
/// Landlock (Documentation/userspace-api/landlock.rst), seccomp (.../seccomp_filter.rst),
/// no_new_privs. Walls this kernel cannot make are named in the result and left out.
[[nodiscard]] Result<std::vector<std::string>> confine();

}  // namespace glasshook::confinement
