#include <fmt/format.h>

#include <algorithm>

#include "cli/completion_model.h"

namespace glasshook::cli {
namespace {

/// Text inside a single-quoted _arguments specification.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string function_name(const CompletionCommand& command) {
  std::string name = "_glasshook";
  if (!command.path.empty()) name += "_" + command.path;
  std::ranges::replace(name, ' ', '_');
  return name;
}

std::string values(const CompletionOption& option) {
  switch (option.source) {
    case ValueSource::file:
      return "file:_files";
    case ValueSource::choices:
      return fmt::format("value:({})", fmt::join(option.choices, " "));
    case ValueSource::apis:
      return "API:_glasshook_api_names";
    case ValueSource::nothing:
      break;
  }
  return "value:";
}

std::string option_lines(const CompletionOption& option) {
  std::string lines;
  for (const std::string& name : option.names) {
    // "*": may come again; "(-a --all)": once, whatever its name.
    const std::string before = option.repeats ? "*"
                               : option.names.size() > 1
                                   ? fmt::format("({})", fmt::join(option.names, " "))
                                   : "";
    lines +=
        fmt::format(" \\\n    '{}{}{}[{}]{}'", before, name,
                    option.takes_value && name.starts_with("--") ? "=" : "",
                    escaped(option.description), option.takes_value ? ":" + values(option) : "");
  }
  return lines;
}

std::string subcommand_part(const CompletionCommand& command,
                            const std::vector<CompletionCommand>& all) {
  std::string names, cases;
  for (const CompletionCommand& sub : all) {
    if (sub.path.empty() ||
        sub.path != (command.path.empty() ? sub.name : command.path + " " + sub.name))
      continue;
    names += fmt::format("      '{}:{}'\n", sub.name, escaped(sub.description));
    cases += fmt::format("      {}) {} ;;\n", sub.name, function_name(sub));
  }
  return fmt::format(R"(  case $state in
  command)
    local -a commands=(
{}    )
    _describe command commands ;;
  rest)
    case $words[1] in
{}    esac ;;
  esac
)",
                     names, cases);
}

std::string function_of(const CompletionCommand& command,
                        const std::vector<CompletionCommand>& all) {
  std::string out = function_name(command) + "() {\n";
  const bool nested = !command.subcommands.empty();
  if (nested) out += "  local context state state_descr line\n  typeset -A opt_args\n";
  out += fmt::format("  _arguments -S{}", nested ? " -C" : "");
  for (const CompletionOption& option : command.options) out += option_lines(option);
  for (std::size_t i = 0; i < command.positionals.size(); ++i)
    out += fmt::format(" \\\n    '{}:{}'", i + 1, values(command.positionals[i]));
  if (command.runs_guest_command) out += " \\\n    '*::guest command:_normal'";
  if (nested) out += " \\\n    '1: :->command' '*:: :->rest'";
  out += "\n";
  if (nested) out += subcommand_part(command, all);
  return out + "}\n\n";
}

}  // namespace

std::string zsh_completion(const std::vector<CompletionCommand>& commands) {
  std::string out =
      "#compdef glasshook\n# zsh completion for glasshook. Made by: glasshook "
      "completion zsh\n\n";
  out +=
      "_glasshook_api_names() {\n"
      "  local -a names=(${(f)\"$(glasshook apis list --names 2>/dev/null)\"})\n"
      "  compadd -a names\n}\n\n";
  for (const CompletionCommand& command : commands) out += function_of(command, commands);
  return out + "_glasshook \"$@\"\n";
}

}  // namespace glasshook::cli
