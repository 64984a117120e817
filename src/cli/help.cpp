#include "cli/help.h"

#include <fmt/format.h>

namespace glasshook::cli {

HelpFormatter::HelpFormatter() { column_width(30); }

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  // A group that follows another one would have two blank lines before it.
  const bool first = is_positional || group == "Options";
  return CLI::Formatter::make_group(group, is_positional, std::move(options)).substr(first ? 0 : 1);
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  std::string usage = fmt::format("Usage: {} [OPTIONS]", name);
  for (const CLI::Option* option : app->get_options())
    if (option->get_positional())
      usage += option->get_required() ? " " + option->get_name(true)
                                      : " [" + option->get_name(true) + "]";
  if (app->get_prefix_command()) usage += " -- COMMAND [ARGUMENT...]";
  if (has_subcommands(*app)) usage += " COMMAND";
  return "\n" + usage + "\n";
}

bool has_subcommands(const CLI::App& app) {
  return !app.get_subcommands([](const CLI::App*) { return true; }).empty();
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_items_expected_max() == 0 || option->get_positional()) return "";
  return " " + option->get_type_name();
}

}  // namespace glasshook::cli
