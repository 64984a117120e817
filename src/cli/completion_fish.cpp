#include <fmt/format.h>

#include "cli/completion_model.h"

namespace glasshook::cli {
namespace {

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

/// A condition: the words typed so far name this command and no deeper one.
std::string condition(const CompletionCommand& command) {
  if (command.path.empty()) return "__fish_use_subcommand";
  std::string out;
  std::string_view rest = command.path;
  while (!rest.empty()) {
    const auto space = rest.find(' ');
    if (!out.empty()) out += "; and ";
    out += fmt::format("__fish_seen_subcommand_from {}", rest.substr(0, space));
    rest = space == std::string_view::npos ? "" : rest.substr(space + 1);
  }
  if (!command.subcommands.empty())
    out += fmt::format("; and not __fish_seen_subcommand_from {}",
                       fmt::join(command.subcommands, " "));
  return out;
}

std::string values(const CompletionOption& option) {
  switch (option.source) {
    case ValueSource::file:
      return " -F";
    case ValueSource::choices:
      return fmt::format(" -f -a {}",
                         shell_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
    case ValueSource::apis:
      return " -f -a '(glasshook apis list --names 2>/dev/null)'";
    case ValueSource::nothing:
      break;
  }
  return " -f";
}

std::string option_line(const std::string& when, const CompletionOption& option) {
  std::string line = fmt::format("complete -c glasshook -n {}", when);
  for (const std::string& name : option.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.takes_value) line += " -r" + values(option);
  return line + fmt::format(" -d {}\n", shell_quoted(option.description));
}

}  // namespace

std::string fish_completion(const std::vector<CompletionCommand>& commands) {
  std::string out =
      "# fish completion for glasshook. Made by: glasshook completion fish\n"
      "complete -c glasshook -f\n";
  for (const CompletionCommand& command : commands) {
    const std::string when = shell_quoted(condition(command));
    for (const CompletionCommand& sub : commands)
      if (!sub.path.empty() &&
          sub.path == (command.path.empty() ? sub.name : command.path + " " + sub.name))
        out += fmt::format("complete -c glasshook -n {} -a {} -d {}\n", when, sub.name,
                           shell_quoted(sub.description));
    for (const CompletionOption& option : command.options) out += option_line(when, option);
    for (const CompletionOption& positional : command.positionals)
      out += fmt::format("complete -c glasshook -n {}{}\n", when, values(positional));
    if (command.runs_guest_command) out += fmt::format("complete -c glasshook -n {} -F\n", when);
  }
  return out;
}

}  // namespace glasshook::cli
