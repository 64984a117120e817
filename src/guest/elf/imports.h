// What a module has the loader fill in: addresses of functions of other modules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest/elf/dynamic.h"
#include "guest/elf/image.h"
#include "guest/elf/symbol_table.h"

namespace glasshook::elf {

/// A slot of the global offset table.
struct Import {
  std::string name;        ///< of the symbol; its version is left out
  std::uint64_t slot = 0;  ///< the module's own address
};

/// The slots of relocations JUMP_SLOT and GLOB_DAT for symbols that the module does not define
/// (System V ABI AMD64, 4.4.1), at most kMaxImports. Those of data are among them. `strings` is a
/// table of the same module.
[[nodiscard]] std::vector<Import> read_imports(const Image& image, const Dynamic& dynamic,
                                               const SymbolTable& strings);

}  // namespace glasshook::elf
