// The host's files that a caged QEMU needs, opened for it before it starts.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "confinement/cage.h"
#include "machine/vm.h"

namespace glasshook::machine {

/// Open files for QEMU, to be inherited. Not valid where the configuration names none.
struct QemuFiles {
  UniqueFd kernel, initrd, plugin;  ///< QEMU opens them again, by /proc/self/fd
  UniqueFd console, snapshot;
  UniqueFd userfaultfd;         ///< nor where it may not be opened
  std::vector<UniqueFd> disks;  ///< as configured; not valid where QEMU opens it by its name

  /// Fails when one cannot be opened. Empties the console log.
  [[nodiscard]] static Result<QemuFiles> open(const MachineConfig& config,
                                              const std::optional<std::filesystem::path>& snapshot);
};

/// What QEMU may see of the host: its program, libraries and firmware, those files and the backing
/// files of disks that it opens by name, and `scratch`, where it makes its overlays.
[[nodiscard]] confinement::CageNeeds cage_needs(const MachineConfig& config, const QemuFiles& files,
                                                const std::filesystem::path& scratch);

/// The file and those it is a difference to, as their headers say (QEMU docs/interop/qcow2.txt);
/// itself alone when it is no qcow2 image.
[[nodiscard]] std::vector<std::filesystem::path> disk_chain(const std::filesystem::path& file);

/// Whether every user could open the file.
[[nodiscard]] bool is_public(const std::filesystem::path& file);

}  // namespace glasshook::machine
