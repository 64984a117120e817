#include "cli/walls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ctime>

#include "cli/diagnostics.h"
#include "confinement/confinement.h"

namespace glasshook::cli {

Result<> raise_walls(pid_t child) {
  tzset();  // the C library reads the time zone from a file
  const auto missing = confinement::confine(child);
  if (!missing) return std::unexpected(missing.error());
  note_missing_walls("the monitor", *missing);
  return {};
}

void note_missing_walls(std::string_view who, const std::vector<std::string>& walls) {
  if (!walls.empty())
    print_note(fmt::format("{} is less confined here: no {}", who, fmt::join(walls, ", no ")));
}

}  // namespace glasshook::cli
