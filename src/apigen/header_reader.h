// Reads declarations and constants out of C headers with libclang.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apigen/declarations.h"
#include "base/result.h"

namespace glasshook::apigen {

/// What to compile: x86-64 Windows code that includes `headers` in that order.
struct TranslationUnit {
  std::vector<std::string> options;
  std::vector<std::string> headers;
  std::vector<std::string> constants;  ///< globs: macros whose values are wanted
  /// Headers given as text, by name; for tests.
  std::vector<std::pair<std::string, std::string>> texts;
};

/// Adds what a translation unit declares; what is known already stays. Direction marks (IN, OUT,
/// and what sal.h and its kin define) are read from parameters. Fails when a header is missing;
/// single declarations that cannot be read are left out.
[[nodiscard]] Result<> read_headers(const TranslationUnit& unit, Declarations& declarations);

}  // namespace glasshook::apigen
