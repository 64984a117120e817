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
  std::uint32_t smp = 1;                ///< of a built image
  std::uint64_t memory_mib = 512;       ///< of a built image
  Accelerator accelerator = Accelerator::tcg;
  bool cold_boot = false;  ///< boot the image instead of restoring its snapshot
  std::filesystem::path plugin;
  std::string plugin_arguments;
  std::filesystem::path console_log;
  std::filesystem::path control_socket;
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
