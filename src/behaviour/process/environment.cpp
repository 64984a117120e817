#include "behaviour/process/environment.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "behaviour/support.h"

namespace glasshook::behaviour {

std::string environment_hash(std::string_view block) {
  return fmt::format("{:016x}", XXH3_64bits(block.data(), block.size()));
}

std::vector<std::string> loader_variables(std::string_view block) {
  constexpr auto kNames = std::to_array<std::string_view>(
      {"LD_PRELOAD=", "LD_LIBRARY_PATH=", "LD_AUDIT=", "LD_DEBUG_OUTPUT=", "GCONV_PATH="});
  constexpr std::size_t kMost = 16;
  std::vector<std::string> found;
  for (std::string& variable : split_nul(block)) {
    const bool matters = std::ranges::any_of(
        kNames, [&](std::string_view name) { return variable.starts_with(name); });
    if (matters && found.size() < kMost) found.push_back(std::move(variable));
  }
  return found;
}

}  // namespace glasshook::behaviour
