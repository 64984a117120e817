// A command in a fresh VM, watched from before its first instruction: run, trace and demo.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command_builder.h"
#include "cli/event_outputs.h"
#include "cli/guest_options.h"
#include "cli/watch_options.h"

namespace glasshook::cli {

struct GuestRunOptions {
  GuestOptions guest;
  WatchOptions watch;
  EventOutputs::Live live = EventOutputs::Live::text;
  /// Watch every process of the VM, not only the command's.
  bool all_processes = false;
  /// How long to watch on after the command has ended.
  std::string linger;
  /// Empty: watch a guest of the user's own until it ends.
  std::vector<std::string> command;
};

/// Adds what `run` and `trace` have in common; gives --api.
OptionRef add_guest_run_options(CommandBuilder command, GuestRunOptions& options);

/// Starts the VM, attaches, runs the command, passes its output on, ends the VM. The command's exit
/// status, kTimedOut or kInterrupted.
[[nodiscard]] Result<int> run_in_guest(const GuestRunOptions& options, ColorMode color);

}  // namespace glasshook::cli
