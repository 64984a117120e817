#include <fmt/format.h>

#include "cli/completion_model.h"

namespace glasshook::cli {
namespace {

std::string words_of(const CompletionCommand& command) {
  std::string words = fmt::format("{}", fmt::join(command.subcommands, " "));
  for (const CompletionOption& option : command.options)
    for (const std::string& name : option.names) words += (words.empty() ? "" : " ") + name;
  for (const CompletionOption& positional : command.positionals)
    for (const std::string& choice : positional.choices) words += " " + choice;
  return words;
}

/// The shell code that offers the values of an option or positional.
std::string offer(const CompletionOption& option) {
  switch (option.source) {
    case ValueSource::file:
      return "compopt -o default; COMPREPLY=()";
    case ValueSource::choices:
      return fmt::format("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))",
                         fmt::join(option.choices, " "));
    case ValueSource::apis:
      return "COMPREPLY=($(compgen -W \"$(glasshook apis list --names 2>/dev/null)\" -- \"$cur\"))";
    case ValueSource::nothing:
      break;
  }
  return "COMPREPLY=()";
}

std::string value_cases(const std::vector<CompletionCommand>& commands) {
  std::string cases;
  for (const CompletionCommand& command : commands)
    for (const CompletionOption& option : command.options) {
      if (!option.takes_value) continue;
      std::string patterns;
      for (const std::string& name : option.names)
        patterns += fmt::format("{}'{}:{}'", patterns.empty() ? "" : "|", command.path, name);
      cases += fmt::format("    {}) {}; return ;;\n", patterns, offer(option));
    }
  return cases;
}

std::string word_cases(const std::vector<CompletionCommand>& commands) {
  std::string cases;
  for (const CompletionCommand& command : commands) {
    std::string plain;
    if (command.runs_guest_command)
      plain = "compopt -o default; ";
    else if (!command.positionals.empty() &&
             command.positionals.front().source != ValueSource::nothing &&
             command.positionals.front().source != ValueSource::choices)
      plain = fmt::format("[[ $cur == -* ]] || {{ {}; return; }}; ",
                          offer(command.positionals.front()));
    cases += fmt::format("    '{}') {}words='{}' ;;\n", command.path, plain, words_of(command));
  }
  return cases;
}

}  // namespace

std::string bash_completion(const std::vector<CompletionCommand>& commands) {
  std::string paths;
  for (const CompletionCommand& command : commands)
    if (!command.path.empty())
      paths += fmt::format("{}'{}'", paths.empty() ? "" : "|", command.path);
  return fmt::format(R"(# bash completion for glasshook. Made by: glasshook completion bash
_glasshook() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path= words= next i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${{COMP_WORDS[i]}} == -- ]] && {{ compopt -o default; return; }}
    next="${{path:+$path }}${{COMP_WORDS[i]}}"
    case "$next" in {}) path=$next ;; esac
  done
  # "--name=value" comes as three words.
  [[ $cur == = ]] && cur= && prev=${{COMP_WORDS[COMP_CWORD-1]}}
  [[ $prev == = ]] && prev=${{COMP_WORDS[COMP_CWORD-2]}}
  case "$path:$prev" in
{}  esac
  case "$path" in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -F _glasshook glasshook
)",
                     paths, value_cases(commands), word_cases(commands));
}

}  // namespace glasshook::cli
