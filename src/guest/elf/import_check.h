// Imports of a process's modules that lead elsewhere than a loader would make them lead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "guest/elf/elf_module.h"

namespace glasshook::elf {

/// A module of a process. `bias` is what the loader added to its own addresses.
struct LoadedModule {
  std::string name;  ///< as it is shown
  std::uint64_t bias = 0;
  const ElfModule* module = nullptr;             ///< borrowed; not null
  const std::vector<Import>* imports = nullptr;  ///< of it; borrowed; not null
};

/// A slot that leads where no module has that function.
struct ReplacedImport {
  std::string importer;  ///< name of the module the slot is in
  std::string function;
  std::uint64_t slot = 0;     ///< address in the process
  std::uint64_t target = 0;   ///< what is there
  std::string target_module;  ///< name of the module that holds it; empty: none does
  std::uint64_t target_offset = 0;
};

/// Copies bytes of the process; false when any is missing.
using ReadProcess = std::function<bool(std::uint64_t address, std::span<std::byte> out)>;

/// Most slots that are looked at in one process, and most findings.
inline constexpr std::size_t kMaxCheckedSlots = 65536, kMaxReplacedImports = 64;

/// A slot is as it should be when it is empty, leads into its own module (which the loader has it
/// do until the first call), into one that exports the function there, or to where `is_kernels`
/// says that the kernel maps code of its own (the vDSO); also when nobody can say: the symbol is
/// data, or a module is not all known. Reads the process as it is now: a loader at work can make a
/// slot look wrong for a moment.
[[nodiscard]] std::vector<ReplacedImport> replaced_imports(
    std::span<const LoadedModule> modules, const ReadProcess& read,
    const std::function<bool(std::uint64_t)>& is_kernels);

}  // namespace glasshook::elf
