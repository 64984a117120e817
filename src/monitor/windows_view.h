// Windows processes of the guest, as they see themselves.
#pragma once

#include <optional>
#include <vector>

#include "guest/linux/process.h"
#include "guest/windows/import_check.h"
#include "guest/windows/process.h"

namespace glasshook::monitor {

struct WindowsProcess {
  windows::Teb teb;  ///< of the thread it was asked for
  windows::Peb peb;
  windows::ProcessParameters parameters;  ///< empty where they could not be read
};

/// Reads what a process that Wine runs keeps about itself; empty for Linux programs and when its
/// TEB or PEB is not in memory.
[[nodiscard]] std::optional<WindowsProcess> windows_process(
    const linux_guest::LinuxKernel& kernel, const linux_guest::ProcessInfo& process);

/// The modules of such a process, in the order of loading.
[[nodiscard]] windows::LoadedModules windows_modules(const linux_guest::LinuxKernel& kernel,
                                                     const linux_guest::ProcessInfo& process,
                                                     const windows::Peb& peb);

/// Imports of such a process that lead elsewhere than they should; none while its list of modules
/// cannot be read.
[[nodiscard]] std::vector<windows::ReplacedImport> windows_replaced_imports(
    const linux_guest::LinuxKernel& kernel, const linux_guest::ProcessInfo& process,
    const windows::Peb& peb);

}  // namespace glasshook::monitor
