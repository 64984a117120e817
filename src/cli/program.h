// The command line program: from arguments to an exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"

namespace glasshook::cli {

/// The parser with all subcommands. `invocation` outlives it.
[[nodiscard]] std::unique_ptr<CLI::App> make_program(Invocation& invocation);

/// Parses into `invocation`; fails with a usage error. False: help was printed instead.
[[nodiscard]] Result<bool> parse_arguments(CLI::App& program, Invocation& invocation,
                                           std::vector<std::string> arguments);

/// Parses the arguments (without the program's name), runs what they ask for, prints errors. The
/// exit status.
[[nodiscard]] int run_program(std::vector<std::string> arguments);

}  // namespace glasshook::cli
