// What this machine has and lacks for running Glasshook.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace glasshook::machine {

enum class Health : std::uint8_t {
  ok,
  info,     ///< good to know; nothing to do
  warning,  ///< something works less well
  problem,  ///< something does not work
};

/// One thing that was looked at.
struct Check {
  Health health = Health::ok;
  std::string name;    ///< "QEMU"
  std::string text;    ///< what was found
  std::string remedy;  ///< the command that mends it; empty when nothing is to be done
};

/// Looks at everything; changes nothing, needs no privilege.
[[nodiscard]] std::vector<Check> run_doctor();

/// Judges a QEMU by what it prints for --version and for --help (which lists -plugin only when it
/// was built with plugin support).
[[nodiscard]] Check judge_qemu(std::string_view version, std::string_view help);

/// Judges free disk space and memory, in bytes.
[[nodiscard]] Check judge_disk_space(std::uint64_t available, bool image_built);
[[nodiscard]] Check judge_memory(std::uint64_t available);

}  // namespace glasshook::machine
