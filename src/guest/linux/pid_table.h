// The two ways in which the kernel knows its processes: the list of tasks and the table of ids.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/result.h"
#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// Processes by their id in the first pid namespace, with the task of their first thread.
struct KnownProcesses {
  std::map<std::uint32_t, Gva> tasks;
  std::optional<Error> incomplete;  ///< set when the guest's structures broke off or ran on
};

/// Those in the list that begins at init_task, which the kernel goes through for all processes.
[[nodiscard]] KnownProcesses listed_processes(const LinuxKernel& kernel);

/// Those in the table of ids (init_pid_ns.idr), which /proc shows and kill() looks into.
[[nodiscard]] KnownProcesses numbered_processes(const LinuxKernel& kernel);

}  // namespace glasshook::linux_guest
