// From "run this guest" to a machine that is ready to be watched.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "machine/image.h"
#include "machine/shell.h"
#include "machine/vm.h"

namespace glasshook::machine {

/// Which guest to start, and how.
struct GuestRequest {
  std::string name = "linux";           ///< a built image
  std::optional<MachineConfig> custom;  ///< the user's own disk or kernel instead; booted cold
  MachineShape shape;                   ///< of a built image
  bool cold_boot = false;               ///< boot the image instead of restoring its snapshot
  std::filesystem::path plugin;
  bool probe = false;        ///< the plugin is ours, to be attached to
  bool userfaultfd = false;  ///< as in MachineConfig
  std::filesystem::path console_log;
};

/// A machine that has not run yet: attach to it, then resume it.
struct Guest {
  std::unique_ptr<Machine> machine;
  std::optional<GuestShell> shell;  ///< none for the user's own images without a channel
  bool restored = false;            ///< from a snapshot: its kernel is up
};

/// Starts a guest, stopped. Makes the snapshot first if there is none for this size.
[[nodiscard]] Result<Guest> start_guest(const GuestRequest& request, const ProgressSink& progress);

}  // namespace glasshook::machine
