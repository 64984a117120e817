#include "cli/command.h"

namespace glasshook::cli {

std::span<const CommandEntry> commands() {
  static constexpr CommandEntry kCommands[] = {
      {"apis", add_apis},
      {"completion", add_completion},
      {"version", add_version},
  };
  return kCommands;
}

}  // namespace glasshook::cli
