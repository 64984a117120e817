// How --help looks.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace glasshook::cli {

/// Whether a word behind this command names another one.
[[nodiscard]] bool has_subcommands(const CLI::App& app);

/// Usage lines with the guest command of `run` and `trace`, and options without parser jargon.
class HelpFormatter final : public CLI::Formatter {
 public:
  HelpFormatter();
  [[nodiscard]] std::string make_group(std::string group, bool is_positional,
                                       std::vector<const CLI::Option*> options) const override;
  [[nodiscard]] std::string make_usage(const CLI::App* app, std::string name) const override;
  [[nodiscard]] std::string make_option_opts(const CLI::Option* option) const override;
};

}  // namespace glasshook::cli
