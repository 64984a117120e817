// Describing a command: its options, its help, what it does. Hides the parser from the commands.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/exit_status.h"
#include "cli/terminal.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace glasshook::cli {

/// What the command line came to.
struct Invocation {
  /// Set when a command was named; gives the exit status.
  std::function<Result<int>()> action;
  ColorMode color = ColorMode::automatic;
  /// A guest command: everything from the first plain word, or behind `--` (run, trace).
  std::vector<std::string> guest_command;
};

/// An option that was just added.
class OptionRef {
 public:
  explicit OptionRef(CLI::Option& option) : option_(&option) {}
  const OptionRef& required() const;
  const OptionRef& excludes(const OptionRef& other) const;

 private:
  CLI::Option* option_;
};

/// One command, or the whole program. Cheap to copy. Variables that options fill must live until
/// the action has run; a shared pointer held by the action does that.
class CommandBuilder {
 public:
  using Action = std::function<Result<int>(const Invocation&)>;

  CommandBuilder(CLI::App& command, Invocation& invocation)
      : command_(&command), invocation_(&invocation) {}

  /// A command below this one.
  [[nodiscard]] CommandBuilder add(const char* name, const char* description) const;
  /// Options added through the result stand under that title in the help.
  [[nodiscard]] CommandBuilder group(const char* title) const;

  /// An option with a value ("-e,--api"), or a positional word ("NAME"). `type` names the value in
  /// the help and tells shell completion what to offer; see completion_model().
  OptionRef value(const char* names, std::string& into, const char* help,
                  const char* type = "TEXT") const;
  OptionRef value(const char* names, std::uint32_t& into, const char* help,
                  const char* type = "N") const;
  OptionRef value(const char* names, std::optional<std::uint32_t>& into, const char* help,
                  const char* type = "N") const;
  /// An option that may come several times, or positional words.
  OptionRef values(const char* names, std::vector<std::string>& into, const char* help,
                   const char* type) const;
  OptionRef values(const char* names, std::vector<std::uint32_t>& into, const char* help,
                   const char* type) const;
  OptionRef flag(const char* names, bool& into, const char* help) const;

  /// Text below the options.
  void footer(std::string text) const;
  /// A command below it has to be named.
  void needs_subcommand() const;
  /// What follows the options is a command for the guest.
  void takes_guest_command() const;
  /// What it does.
  void runs(Action action) const;

 private:
  template <class Value>
  CLI::Option& option(const char* names, Value& into, const char* help, const char* type) const;

  CLI::App* command_;
  Invocation* invocation_;
  const char* group_ = nullptr;
};

}  // namespace glasshook::cli
