// The program's commands and options as shell completion needs them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace glasshook::cli {

/// What a shell can offer for the value of an option or for a positional word.
enum class ValueSource {
  nothing,
  file,
  choices,  ///< CompletionOption::choices
  apis,     ///< what `glasshook apis list --names` prints
};

struct CompletionOption {
  std::vector<std::string> names;  ///< with their dashes; empty: a positional word
  std::string description;
  bool takes_value = false;
  bool repeats = false;
  ValueSource source = ValueSource::nothing;
  std::vector<std::string> choices;
};

struct CompletionCommand {
  std::string path;  ///< "", "apis", "apis list"
  std::string name;
  std::string description;
  std::vector<CompletionOption> options;  ///< its own and those it shares with its parents
  std::vector<CompletionOption> positionals;
  std::vector<std::string> subcommands;
  bool runs_guest_command = false;
};

/// All commands, parents before their children, the program itself first. What a value is comes
/// from its type name in the help: FILE, API, or "a|b|c".
[[nodiscard]] std::vector<CompletionCommand> completion_model(const CLI::App& program);

[[nodiscard]] std::string bash_completion(const std::vector<CompletionCommand>& commands);
[[nodiscard]] std::string zsh_completion(const std::vector<CompletionCommand>& commands);
[[nodiscard]] std::string fish_completion(const std::vector<CompletionCommand>& commands);

}  // namespace glasshook::cli
