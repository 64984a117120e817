// Which running VM the user means: a socket, a process id, or the only one there is.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::cli {

/// A QEMU process that runs Glasshook's plugin, or its library for KVM.
struct RunningVm {
  pid_t qemu = 0;
  std::filesystem::path socket;  ///< of the probe, absolute
};

/// Help text for a VM argument.
inline constexpr const char* kVmHelp =
    "The VM: the plugin's socket, a QMP socket, or QEMU's process id (default: the only one)";

/// The plugin's socket in a QEMU command line ("" when it lacks our plugin). `directory` is what a
/// relative path starts from.
[[nodiscard]] std::filesystem::path plugin_socket(const std::vector<std::string>& qemu_arguments,
                                                  const std::filesystem::path& directory);

/// The socket of the library for KVM in the environment of a QEMU ("" when it lacks our library).
[[nodiscard]] std::filesystem::path library_socket(const std::vector<std::string>& environment,
                                                   const std::filesystem::path& directory);

/// VMs of this machine that can be watched. `proc` is /proc.
[[nodiscard]] std::vector<RunningVm> running_vms(const std::filesystem::path& proc = "/proc");

/// The plugin's socket of the VM that `name` says; "" takes the only one that runs. A QMP socket
/// leads to the process that listens on it.
[[nodiscard]] Result<std::filesystem::path> locate_vm(std::string_view name,
                                                      const std::filesystem::path& proc = "/proc");

/// Attaches to the probe behind a plugin's socket.
[[nodiscard]] Result<std::unique_ptr<hypervisor::Hypervisor>> attach_socket(
    const std::filesystem::path& socket, hypervisor::Tier tier = hypervisor::Tier::stealth);

/// Attaches to the VM that `name` says.
[[nodiscard]] Result<std::unique_ptr<hypervisor::Hypervisor>> attach_vm(std::string_view name);

}  // namespace glasshook::cli
