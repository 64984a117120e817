// glasshook doctor: what this machine has and lacks.
#include "machine/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/diagnostics.h"
#include "cli/listing.h"
#include "output/style.h"

namespace glasshook::cli {
namespace {

using machine::Check;
using machine::Health;

std::string_view word(Health health) {
  switch (health) {
    case Health::ok:
      return "ok";
    case Health::info:
      return "note";
    case Health::warning:
      return "warning";
    case Health::problem:
      break;
  }
  return "problem";
}

std::string as_text(const std::vector<Check>& checks, bool color) {
  const output::Style style = output::style(color);
  std::string text;
  for (const Check& check : checks) {
    const bool bad = check.health == Health::warning || check.health == Health::problem;
    text += fmt::format("{}{:<8}{} {:<18} {}\n", bad ? style.notable : style.dim,
                        word(check.health), style.reset, check.name, to_printable(check.text));
    if (!check.remedy.empty())
      text += fmt::format("{:27} try: {}\n", "", to_printable(check.remedy));
  }
  return text;
}

std::string as_json(const std::vector<Check>& checks) {
  Listing listing({{"", "name"}, {"", "health"}, {"", "text"}, {"", "remedy"}});
  for (const Check& check : checks)
    listing.add({check.name, std::string(word(check.health)), check.text,
                 check.remedy.empty() ? Cell{} : Cell{check.remedy}});
  return listing.json_lines();
}

}  // namespace

void add_doctor(CommandBuilder program) {
  const CommandBuilder command =
      program.add("doctor", "Tell what this machine has, lacks, and how to mend it");
  auto json = std::make_shared<bool>(false);
  command.flag("--json", *json, "JSON Lines instead of text");
  command.footer("The exit status is 1 when something that is needed is missing.");
  command.runs([json](const Invocation& invocation) -> Result<int> {
    const std::vector<Check> checks = machine::run_doctor();
    write_all(STDOUT_FILENO, *json ? as_json(checks)
                                   : as_text(checks, use_color(invocation.color, STDOUT_FILENO)));
    const bool broken = std::ranges::count(checks, Health::problem, &Check::health) > 0;
    return broken ? kFailure : kSuccess;
  });
}

}  // namespace glasshook::cli
