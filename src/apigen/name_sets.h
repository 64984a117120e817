// Flag sets and enumerations from macros, by the rules.
#pragma once

#include <string>
#include <vector>

#include "apigen/declarations.h"
#include "apigen/rules.h"

namespace glasshook::apigen {

/// One set as .api text. Of several names for a value the one that the rule names first counts, or
/// of those the one the headers define first; flags of more bits come first, so that they are shown
/// instead of their parts. Empty when no macro belongs to it.
[[nodiscard]] std::string set_text(const SetRule& rule,
                                   const std::vector<HeaderConstant>& constants);

}  // namespace glasshook::apigen
