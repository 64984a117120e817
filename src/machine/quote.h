// Quoting for the guest's shell.
#pragma once

#include <string>
#include <string_view>

namespace glasshook::machine {

/// One shell word that stands for exactly these bytes (which hold no zero byte).
[[nodiscard]] inline std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out += '\'';
}

}  // namespace glasshook::machine
