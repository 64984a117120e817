// The dynamic section: where the loader finds symbols, strings and versions.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/elf/image.h"

namespace glasshook::elf {

/// Addresses are the module's own; 0 where the tag is absent or points outside the module.
struct Dynamic {
  std::uint64_t symbols = 0;  ///< DT_SYMTAB
  std::uint64_t strings = 0;  ///< DT_STRTAB
  std::uint64_t string_bytes = 0;
  std::uint64_t hash = 0;      ///< DT_HASH
  std::uint64_t gnu_hash = 0;  ///< DT_GNU_HASH
  std::uint64_t versions = 0;  ///< DT_VERSYM
  std::uint64_t version_definitions = 0;
  std::uint64_t version_definition_count = 0;
  Extent jump_slots;                    ///< DT_JMPREL; empty when absent
  Extent relocations;                   ///< DT_RELA; empty when absent
  std::optional<std::uint64_t> soname;  ///< offset in the strings
  bool is_program = false;              ///< DF_1_PIE
  bool complete = true;                 ///< false: cut by a missing page
};

/// Reads the section at `extent`. A loader may have relocated its pointers: `bias` is what it added
/// (0 when the module is not loaded).
[[nodiscard]] Dynamic read_dynamic(const Image& image, Extent extent, std::uint64_t bias);

/// How many symbols there are, from the hash tables, which are the only thing that tells. Empty
/// when these are missing or make no sense.
[[nodiscard]] std::optional<std::uint64_t> count_symbols(const Image& image,
                                                         const Dynamic& dynamic);

}  // namespace glasshook::elf
