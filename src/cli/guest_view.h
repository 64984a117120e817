// The commands that read a running guest and hook nothing: ps, maps, modules, symbols.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/listing.h"
#include "guest/linux/kernel.h"

namespace glasshook::cli {

/// What those commands have in common.
struct GuestViewOptions {
  std::string vm;
  bool json = false;
};

/// What such a command found; `incomplete` says why something is missing.
struct GuestView {
  Listing listing;
  std::optional<Error> incomplete;
};

using LookAtGuest = std::function<Result<GuestView>(const linux_guest::LinuxKernel&)>;

/// Adds a command with --vm and --json that attaches, lets `look` read the guest, and prints.
CommandBuilder add_guest_view(CommandBuilder program, const char* name, const char* description,
                              LookAtGuest look);

}  // namespace glasshook::cli
