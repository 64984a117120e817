// Which functions a DLL exports, from its import library.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace glasshook::apigen {

struct ImportedFunction {
  std::string symbol;  ///< what C calls it
  std::string export_name;

  bool operator==(const ImportedFunction&) const = default;
};

/// The functions of an archive of import objects as GNU dlltool makes them (libkernel32.a): each
/// member names one export in its section .idata$6, a hint of two bytes and the name. Data, members
/// without a symbol `__imp_...` and exports without a name are left out. Sorted by symbol.
[[nodiscard]] Result<std::vector<ImportedFunction>> parse_import_library(
    std::span<const std::byte> archive);

[[nodiscard]] Result<std::vector<ImportedFunction>> read_import_library(
    const std::filesystem::path& path);

}  // namespace glasshook::apigen
