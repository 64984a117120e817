#include "cli/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "api/nearest.h"
#include "cli/diagnostics.h"
#include "cli/help.h"

namespace glasshook::cli {
namespace {

constexpr const char* kDescription =
    "Watches what the processes of a virtual machine do, from outside it.";

constexpr const char* kExamples =
    "Examples:\n"
    "  glasshook doctor                           what this machine has and lacks\n"
    "  glasshook demo                             a short intrusion in a fresh VM, watched\n"
    "  glasshook run -- python3 -c 'import json'  watch a command in a fresh VM\n"
    "  glasshook trace -e 'libc!open*' -- ls      its API calls, like strace\n"
    "\n"
    "'glasshook COMMAND --help' explains a command.";

/// The subcommand that was named last.
const CLI::App* leaf_of(const CLI::App& program) {
  const CLI::App* leaf = &program;
  while (!leaf->get_subcommands().empty()) leaf = leaf->get_subcommands().front();
  return leaf;
}

std::string full_name(const CLI::App* app) {
  std::string name = app->get_name();
  for (app = app->get_parent(); app != nullptr; app = app->get_parent())
    name = app->get_name() + " " + name;
  return name;
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

/// Long options of a command and of those it belongs to.
std::vector<std::string> option_names(const CLI::App& leaf) {
  std::vector<std::string> names;
  for (const CLI::App* app = &leaf; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// The error for a word that the parser had no use for, with the nearest ones that have one.
Error unknown_word(const CLI::App& leaf, const std::string& word) {
  const bool option = word.starts_with('-');
  const auto names = option ? option_names(leaf) : subcommand_names(leaf);
  const std::string name = full_name(&leaf);
  const std::string bare = word.substr(0, word.find('='));
  Error error;
  if (option)
    error.message = fmt::format("{} has no option {}", name, bare);
  else if (names.empty())
    error.message = fmt::format("{} has no use for '{}'", name, word);
  else
    error.message = fmt::format("there is no command '{} {}'", name, word);
  for (const std::string& near : api::nearest_names(bare, names, 3))
    error.remedy += fmt::format("{}{} {}", error.remedy.empty() ? "" : ", or ", name, near);
  if (error.remedy.empty()) error.remedy = name + " --help";
  return error;
}

Error usage_error(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App* leaf = leaf_of(program);
  const std::vector<std::string> extras = program.remaining(true);
  const bool required = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  const bool wants_subcommand = has_subcommands(*leaf);
  if (!extras.empty() &&
      (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr || (required && wants_subcommand)))
    return unknown_word(*leaf, extras.front());
  if (required && wants_subcommand)
    return {ErrorCode::invalid_argument,
            fmt::format("{} needs a command: {}", full_name(leaf),
                        fmt::join(subcommand_names(*leaf), ", ")),
            full_name(leaf) + " --help"};
  return {ErrorCode::invalid_argument, error.what(), full_name(leaf) + " --help"};
}

const CommandEntry* entry_of(const CLI::App& program) {
  if (program.get_subcommands().empty()) return nullptr;
  const auto found = std::ranges::find(commands(), program.get_subcommands().front()->get_name(),
                                       &CommandEntry::name);
  return found == commands().end() ? nullptr : &*found;
}

}  // namespace

std::unique_ptr<CLI::App> make_program(Invocation& invocation) {
  auto program = std::make_unique<CLI::App>(kDescription, "glasshook");
  program->formatter(std::make_shared<HelpFormatter>());
  program->require_subcommand(1);
  program->set_help_flag("-h,--help", "Show this help");
  program
      ->add_option_function<std::string>(
          "--color",
          [&invocation](const std::string& when) {
            if (when != "auto" && when != "always" && when != "never")
              throw CLI::ValidationError("--color", "'" + when + "' is not auto, always or never");
            invocation.color = when == "always"  ? ColorMode::always
                               : when == "never" ? ColorMode::never
                                                 : ColorMode::automatic;
          },
          "Colour the text (default: on terminals)")
      ->type_name("auto|always|never");
  program->fallthrough();
  for (const CommandEntry& command : commands()) command.add({*program, invocation});
  for (CLI::App* sub : program->get_subcommands({})) sub->group("Commands");
  program->footer(kExamples);  // last: subcommands would inherit it
  return program;
}

Result<bool> parse_arguments(CLI::App& program, Invocation& invocation,
                             std::vector<std::string> arguments) {
  // The parser would mix words behind `--` with those before it.
  const auto marker = std::ranges::find(arguments, "--");
  const bool has_marker = marker != arguments.end();
  std::vector<std::string> behind;
  if (has_marker) behind.assign(marker + 1, arguments.end());
  arguments.erase(marker, arguments.end());
  std::ranges::reverse(arguments);  // as CLI11 wants them
  try {
    program.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    write_all(STDOUT_FILENO, program.help());
    return false;
  } catch (const CLI::ParseError& error) {
    return std::unexpected(usage_error(program, error));
  }
  const CLI::App* leaf = leaf_of(program);
  if (!leaf->get_prefix_command()) {
    if (!behind.empty()) return std::unexpected(unknown_word(*leaf, behind.front()));
    return true;
  }
  invocation.guest_command = leaf->remaining();
  if (!invocation.guest_command.empty()) {
    if (invocation.guest_command.front().starts_with('-'))
      return std::unexpected(unknown_word(*leaf, invocation.guest_command.front()));
    if (has_marker) invocation.guest_command.emplace_back("--");
  }
  std::ranges::move(behind, std::back_inserter(invocation.guest_command));
  return true;
}

int run_program(std::vector<std::string> arguments) {
  Invocation invocation;
  const auto program = make_program(invocation);
  if (arguments.empty()) {
    write_all(STDERR_FILENO, program->help());
    return kUsage;
  }
  if (arguments.front() == "--version") arguments.front() = "version";
  const auto parsed = parse_arguments(*program, invocation, std::move(arguments));
  const CommandEntry* entry = entry_of(*program);
  if (!parsed) {
    print_error(parsed.error());
    return entry != nullptr ? entry->usage : kUsage;
  }
  if (!*parsed) return kSuccess;
  const Result<int> status = invocation.action();
  if (status) return *status;
  print_error(status.error());
  return entry->failure;
}

}  // namespace glasshook::cli
