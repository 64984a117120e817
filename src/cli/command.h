// How a subcommand plugs into the program: one file each, one line in commands.cpp.
#pragma once

#include <span>
#include <string_view>

#include "cli/command_builder.h"

namespace glasshook::cli {

struct CommandEntry {
  std::string_view name;
  /// Adds the command to the program.
  void (*add)(CommandBuilder program);
  int failure = kFailure;  ///< exit status when the action fails
  int usage = kUsage;      ///< exit status when the command line is wrong
};

/// All subcommands, in the order --help shows them.
[[nodiscard]] std::span<const CommandEntry> commands();

void add_apis(CommandBuilder program);
void add_bench(CommandBuilder program);
void add_completion(CommandBuilder program);
void add_demo(CommandBuilder program);
void add_doctor(CommandBuilder program);
void add_image(CommandBuilder program);
void add_maps(CommandBuilder program);
void add_modules(CommandBuilder program);
void add_ps(CommandBuilder program);
void add_replay(CommandBuilder program);
void add_run(CommandBuilder program);
void add_symbols(CommandBuilder program);
void add_trace(CommandBuilder program);
void add_version(CommandBuilder program);
void add_watch(CommandBuilder program);

}  // namespace glasshook::cli
