// How a subcommand plugs into the program: one file each, one line in commands.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/exit_status.h"
#include "cli/terminal.h"

namespace glasshook::cli {

/// What the command line came to. Lives until the action is done.
struct Invocation {
  /// Set by the subcommand that was named; gives the exit status.
  std::function<Result<int>()> action;
  ColorMode color = ColorMode::automatic;
  /// A guest command: everything from the first plain word or behind `--` (run, trace).
  std::vector<std::string> guest_command;
};

/// Adds a subcommand to the program: its options, help, and a callback that sets the action.
using AddCommand = void (*)(CLI::App& program, Invocation& invocation);

struct CommandEntry {
  std::string_view name;
  AddCommand add;
  int failure = kFailure;  ///< exit status when the action fails
  int usage = kUsage;      ///< exit status when the command line is wrong
};

/// All subcommands, in the order --help shows them.
[[nodiscard]] std::span<const CommandEntry> commands();

void add_apis(CLI::App& program, Invocation& invocation);
void add_completion(CLI::App& program, Invocation& invocation);
void add_maps(CLI::App& program, Invocation& invocation);
void add_modules(CLI::App& program, Invocation& invocation);
void add_ps(CLI::App& program, Invocation& invocation);
void add_run(CLI::App& program, Invocation& invocation);
void add_symbols(CLI::App& program, Invocation& invocation);
void add_trace(CLI::App& program, Invocation& invocation);
void add_version(CLI::App& program, Invocation& invocation);
void add_watch(CLI::App& program, Invocation& invocation);

}  // namespace glasshook::cli
