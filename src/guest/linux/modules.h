// Loaded kernel modules and their symbols.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/linux/kernel.h"
#include "guest/linux/listing.h"

namespace glasshook::linux_guest {

struct ModuleInfo {
  Gva address;       ///< of its struct module
  std::string name;  ///< guest bytes
  Gva base;          ///< of its code
  std::uint64_t code_size = 0;
  std::uint64_t size = 0;  ///< bytes of all its core sections, as /proc/modules counts them
  std::int64_t references = 0;
  bool live = false;  ///< false while it comes or goes
};

/// Walks the list of modules, as /proc/modules shows it: newest first.
[[nodiscard]] Result<Listing<ModuleInfo>> modules(const LinuxKernel& kernel);

/// The modules that the kernel finds by address (mod_tree), each once, in no order: those of the
/// list, as long as nobody has taken one out of it. Empty where the kernel has no such tree.
[[nodiscard]] Listing<ModuleInfo> modules_by_address(const LinuxKernel& kernel);

/// The module with its struct at that address, if something like one is there.
[[nodiscard]] std::optional<ModuleInfo> module_at(const LinuxKernel& kernel, Gva module);

/// The symbols of one module (mod->kallsyms), at most 65,536.
[[nodiscard]] std::vector<Symbol> module_symbols(const LinuxKernel& kernel, Gva module);

/// The kernel's symbols with those of the modules loaded now in place of any before.
[[nodiscard]] Result<KernelSymbols> symbols_with_modules(const LinuxKernel& kernel);

}  // namespace glasshook::linux_guest
