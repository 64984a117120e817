// Everything together: rules, headers and import libraries become .api files.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "apigen/declarations.h"
#include "apigen/import_library.h"
#include "apigen/rules.h"
#include "base/result.h"

namespace glasshook::apigen {

struct Inputs {
  std::filesystem::path rules;
  std::filesystem::path include_directory;  ///< of mingw-w64
  std::filesystem::path clang_resources;    ///< where the compiler's own headers are
  std::filesystem::path library_directory;  ///< its import libraries
  std::string origin;  ///< where the headers come from, for the files' first line
};

/// How much was made, for people.
struct Counts {
  std::size_t modules = 0;
  std::size_t functions = 0;
  std::size_t exports = 0;  ///< of the modules, named ones
  std::size_t structures = 0;
  std::size_t constants = 0;
};

struct Generated {
  std::map<std::string, std::string> files;  ///< text by file name
  Counts counts;
};

/// The signatures of what import libraries list and headers declare.
[[nodiscard]] Result<Generated> generate(
    const Rules& rules, const Declarations& declarations,
    const std::map<std::string, std::vector<ImportedFunction>>& imports, std::string_view origin);

/// Reads everything and generates.
[[nodiscard]] Result<Generated> generate(const Inputs& inputs);

}  // namespace glasshook::apigen
