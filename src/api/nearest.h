// "Did you mean": the known names nearest to a misspelt one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"

namespace glasshook::api {

/// Up to `count` of `names` (a range of strings), best first; none that share too little.
template <class Names>
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view wanted, const Names& names,
                                                     std::size_t count) {
  const std::size_t limit = std::max<std::size_t>(2, wanted.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> scored;
  for (const auto& name : names) {
    const std::size_t distance = edit_distance(wanted, name, limit);
    if (distance <= limit) scored.emplace_back(distance, name);
  }
  std::ranges::sort(scored);
  std::vector<std::string> best;
  for (auto& [distance, name] : scored) {
    if (best.size() == count) break;
    if (best.empty() || best.back() != name) best.push_back(std::move(name));
  }
  return best;
}

/// "did you mean a, b or c?", or empty when nothing is near.
template <class Names>
[[nodiscard]] std::string did_you_mean(std::string_view wanted, const Names& names) {
  const std::vector<std::string> best = nearest_names(wanted, names, 3);
  std::string text;
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (i > 0) text += i + 1 == best.size() ? " or " : ", ";
    text += best[i];
  }
  return text.empty() ? text : "did you mean " + text + "?";
}

}  // namespace glasshook::api
