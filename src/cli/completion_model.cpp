#include "cli/completion_model.h"

namespace glasshook::cli {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

CompletionOption model_of(const CLI::Option& option) {
  CompletionOption out;
  for (const std::string& name : option.get_snames()) out.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) out.names.push_back("--" + name);
  out.description = option.get_description();
  out.takes_value = option.get_items_expected_max() > 0;
  out.repeats = option.get_expected_max() > 1;
  const std::string type = option.get_type_name();
  if (type == "FILE" || type == "VM") {
    out.source = ValueSource::file;
  } else if (type == "API") {
    out.source = ValueSource::apis;
  } else if (type.find('|') != std::string::npos) {
    out.source = ValueSource::choices;
    out.choices = split(type, '|');
  }
  return out;
}

void add_command(const CLI::App& app, const CompletionCommand* parent,
                 std::vector<CompletionCommand>& out) {
  CompletionCommand command;
  command.name = app.get_name();
  command.description = app.get_description();
  command.runs_guest_command = app.get_prefix_command();
  if (parent != nullptr)
    command.path = parent->path.empty() ? command.name : parent->path + " " + command.name;
  for (const CLI::Option* option : app.get_options())
    (option->get_positional() ? command.positionals : command.options).push_back(model_of(*option));
  if (parent != nullptr)
    for (const CompletionOption& option : parent->options)
      if (option.names.back() != "--help") command.options.push_back(option);
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands) command.subcommands.push_back(sub->get_name());
  out.push_back(command);
  for (const CLI::App* sub : subcommands) add_command(*sub, &command, out);
}

}  // namespace

std::vector<CompletionCommand> completion_model(const CLI::App& program) {
  std::vector<CompletionCommand> commands;
  add_command(program, nullptr, commands);
  return commands;
}

}  // namespace glasshook::cli
