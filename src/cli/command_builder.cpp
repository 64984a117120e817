#include "cli/command_builder.h"

#include <CLI/CLI.hpp>
#include <utility>

namespace glasshook::cli {

const OptionRef& OptionRef::required() const {
  option_->required();
  return *this;
}

const OptionRef& OptionRef::excludes(const OptionRef& other) const {
  option_->excludes(other.option_);
  return *this;
}

CommandBuilder CommandBuilder::add(const char* name, const char* description) const {
  return {*command_->add_subcommand(name, description), *invocation_};
}

CommandBuilder CommandBuilder::group(const char* title) const {
  CommandBuilder grouped = *this;
  grouped.group_ = title;
  return grouped;
}

template <class Value>
CLI::Option& CommandBuilder::option(const char* names, Value& into, const char* help,
                                    const char* type) const {
  CLI::Option* option = command_->add_option(names, into, help)->type_name(type);
  if (group_ != nullptr) option->group(group_);
  return *option;
}

OptionRef CommandBuilder::value(const char* names, std::string& into, const char* help,
                                const char* type) const {
  return OptionRef(option(names, into, help, type));
}

OptionRef CommandBuilder::value(const char* names, std::uint32_t& into, const char* help,
                                const char* type) const {
  return OptionRef(option(names, into, help, type));
}

OptionRef CommandBuilder::value(const char* names, std::optional<std::uint32_t>& into,
                                const char* help, const char* type) const {
  return OptionRef(option(names, into, help, type));
}

OptionRef CommandBuilder::values(const char* names, std::vector<std::string>& into,
                                 const char* help, const char* type) const {
  const bool positional = names[0] != '-';  // takes words as long as there are any
  return OptionRef(*option(names, into, help, type).allow_extra_args(positional));
}

OptionRef CommandBuilder::values(const char* names, std::vector<std::uint32_t>& into,
                                 const char* help, const char* type) const {
  return OptionRef(*option(names, into, help, type).allow_extra_args(false));
}

OptionRef CommandBuilder::flag(const char* names, bool& into, const char* help) const {
  CLI::Option* option = command_->add_flag(names, into, help);
  if (group_ != nullptr) option->group(group_);
  return OptionRef(*option);
}

void CommandBuilder::footer(std::string text) const { command_->footer(std::move(text)); }

void CommandBuilder::needs_subcommand() const { command_->require_subcommand(1); }

void CommandBuilder::takes_guest_command() const { command_->prefix_command(); }

void CommandBuilder::runs(Action action) const {
  command_->callback([invocation = invocation_, action = std::move(action)] {
    invocation->action = [invocation, action] { return action(*invocation); };
  });
}

}  // namespace glasshook::cli
