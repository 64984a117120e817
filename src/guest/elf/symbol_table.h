// Symbols of a module by name and by address.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/elf/dynamic.h"
#include "guest/elf/image.h"

namespace glasshook::elf {

enum class SymbolKind : std::uint8_t {
  function,
  ifunc,   ///< `value` is a resolver, run by the loader: not the function itself
  object,  ///< data
  other,
};

struct Symbol {
  std::string_view name;  ///< lives as long as its table
  std::uint64_t value = 0;
  std::uint64_t size = 0;
  SymbolKind kind = SymbolKind::other;
  bool is_default = true;  ///< false: an old version (name@VERSION), kept for old programs
  std::uint16_t version_index = 0;
};

/// The defined symbols of one table. Movable, not copyable: names point into it.
class SymbolTable {
 public:
  SymbolTable() = default;
  SymbolTable(SymbolTable&&) = default;
  SymbolTable& operator=(SymbolTable&&) = default;
  SymbolTable(const SymbolTable&) = delete;
  SymbolTable& operator=(const SymbolTable&) = delete;

  /// .dynsym: what the module exports. Pages that are missing take their symbols with them; that
  /// is noted in `incomplete`.
  [[nodiscard]] static SymbolTable exports(const Image& image, const Dynamic& dynamic,
                                           std::vector<std::string>& incomplete);
  /// .symtab, of a file that was not stripped; empty when it has none.
  [[nodiscard]] static SymbolTable all(const Image& image);

  /// Sorted by name; the default version of a name stands first.
  [[nodiscard]] const std::vector<Symbol>& symbols() const { return symbols_; }
  /// The default version of a name, or the only one; null when there is none.
  [[nodiscard]] const Symbol* find(std::string_view name) const;
  /// The function whose [value, value + size) holds an address.
  [[nodiscard]] const Symbol* function_at(std::uint64_t address) const;
  /// "GLIBC_2.2.5"; empty for symbols without a version.
  [[nodiscard]] std::string_view version(const Symbol& symbol) const;
  /// A string of the table's string section; empty when out of bounds.
  [[nodiscard]] std::string_view string_at(std::uint64_t offset) const;

 private:
  void load_strings(std::vector<char> bytes) { strings_ = std::move(bytes); }
  void add(const void* elf_symbol, std::uint16_t version);
  void read_version_names(const Image& image, const Dynamic& dynamic);
  void index();

  std::vector<char> strings_;
  std::vector<Symbol> symbols_;
  std::vector<std::uint32_t> by_address_;                               ///< functions of known size
  std::vector<std::pair<std::uint16_t, std::uint64_t>> version_names_;  ///< index, string offset
};

}  // namespace glasshook::elf
