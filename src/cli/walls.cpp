#include "cli/walls.h"

#include <fmt/format.h>

#include <ctime>

#include "cli/diagnostics.h"
#include "confinement/confinement.h"

namespace glasshook::cli {

Result<> raise_walls(pid_t child) {
  tzset();  // the C library reads the time zone from a file
  const auto missing = confinement::confine(child);
  if (!missing) return std::unexpected(missing.error());
  for (const std::string& wall : *missing)
    print_note(fmt::format("the monitor is less confined: it has no {}", wall));
  return {};
}

}  // namespace glasshook::cli
