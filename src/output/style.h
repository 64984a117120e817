// Terminal colours, used only when asked for.
#pragma once

#include <string_view>

#include "behaviour/actions.h"

namespace glasshook::output {

/// Escape sequences, all empty without colour.
struct Style {
  std::string_view dim, bold, change, notable, reset;
};

[[nodiscard]] constexpr Style style(bool color) {
  if (!color) return {};
  return {.dim = "\x1b[2m",
          .bold = "\x1b[1m",
          .change = "\x1b[36m",
          .notable = "\x1b[1;33m",
          .reset = "\x1b[0m"};
}

[[nodiscard]] constexpr std::string_view color_of(const Style& s, behaviour::Weight weight) {
  switch (weight) {
    case behaviour::Weight::notable:
      return s.notable;
    case behaviour::Weight::change:
      return s.change;
    case behaviour::Weight::routine:
      break;
  }
  return "";
}

}  // namespace glasshook::output
