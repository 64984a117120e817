// How the process that runs the guest was started.
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace glasshook::hypervisor::probe {

/// Words of this process's command line.
[[nodiscard]] inline std::vector<std::string> own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

}  // namespace glasshook::hypervisor::probe
