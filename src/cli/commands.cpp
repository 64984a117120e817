#include "cli/command.h"

namespace glasshook::cli {

std::span<const CommandEntry> commands() {
  static constexpr CommandEntry kCommands[] = {
      {"run", add_run, kOwnFailure, kOwnFailure},
      {"trace", add_trace, kOwnFailure, kOwnFailure},
      {"watch", add_watch},
      {"replay", add_replay},
      {"ps", add_ps},
      {"maps", add_maps},
      {"modules", add_modules},
      {"symbols", add_symbols},
      {"apis", add_apis},
      {"image", add_image},
      {"doctor", add_doctor},
      {"demo", add_demo, kOwnFailure, kOwnFailure},
      {"bench", add_bench},
      {"completion", add_completion},
      {"version", add_version},
  };
  return kCommands;
}

}  // namespace glasshook::cli
