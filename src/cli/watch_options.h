// Options that say what to watch and where the events go.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/guest_apis.h"
#include "base/result.h"
#include "cli/command_builder.h"
#include "hypervisor/hypervisor.h"
#include "monitor/session.h"

namespace glasshook::cli {

/// As the user wrote them.
struct WatchOptions {
  std::vector<std::string> apis;
  std::string behaviours;
  std::string tier = "stealth";
  std::vector<std::uint32_t> pids;
  std::vector<std::string> comms, exes;
  bool tree = false;
  std::uint32_t rate = 0;
  std::string commands;
  std::string timeout;
  std::string json;
  std::string record;
  std::string show = "all";
  bool live = false;
  bool quiet = false;
  bool hooks = false;
  bool utc = false;
  std::string host_id;
};

/// --behaviours.
void add_behaviour_option(CommandBuilder command, WatchOptions& options);
/// -e, --rate, --commands, --tier; gives the first.
OptionRef add_hook_options(CommandBuilder command, WatchOptions& options);
/// --pid, --comm, --exe, --tree.
void add_filter_options(CommandBuilder command, WatchOptions& options);
/// --timeout, --json, --live, --show, --quiet, --hooks, --utc, --host-id.
void add_output_options(CommandBuilder command, WatchOptions& options);
/// --record, for sessions of a live VM.
void add_record_option(CommandBuilder command, WatchOptions& options);

/// A footer paragraph that lists the behaviour families.
[[nodiscard]] std::string behaviour_help();

/// What the session shall do.
[[nodiscard]] monitor::SessionOptions session_options(const WatchOptions& options);

/// Whether functions or behaviours are named, or may be later, whose signatures are Windows'.
[[nodiscard]] bool names_apis(const WatchOptions& options);

/// Checks the -e arguments as far as that goes without a guest, so that a wrong name is told before
/// one is started.
[[nodiscard]] Result<> check_apis(const WatchOptions& options, const api::GuestApis& apis);

/// --tier.
[[nodiscard]] Result<hypervisor::Tier> tier_of(const WatchOptions& options);

/// --timeout; nothing when it was not given.
[[nodiscard]] Result<std::optional<std::chrono::milliseconds>> timeout_of(
    const WatchOptions& options);

}  // namespace glasshook::cli
