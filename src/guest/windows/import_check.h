// Imports of a process's modules that lead elsewhere than the loader made them lead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/guest_address.h"
#include "guest/windows/exports.h"
#include "guest/windows/process.h"

namespace glasshook::windows {

/// A slot of a module's import address table.
struct ReplacedImport {
  std::string importer;  ///< stem of the module the slot is in
  ExportName import;     ///< what belongs there
  Gva slot;
  Gva target;                 ///< what is there
  std::string target_module;  ///< stem of the module that holds it; empty: none does
  std::uint64_t target_offset = 0;

  bool operator==(const ReplacedImport&) const = default;
};

/// Most slots that are looked at in one process, and most findings.
inline constexpr std::size_t kMaxCheckedSlots = 65536, kMaxReplacedImports = 64;

/// Compares every import of the modules with the exports of those it is from. A slot is as it
/// should be when it leads into the module it names, or to where that module forwards the export;
/// also when it was not filled yet, and when it cannot be said what belongs there: the module is
/// not loaded, or has no such export. Reads `memory` as it is now: a loader at work can make a slot
/// look wrong for a moment.
[[nodiscard]] std::vector<ReplacedImport> replaced_imports(
    const ProcessMemory& memory, const std::vector<LoadedModule>& modules);

}  // namespace glasshook::windows
