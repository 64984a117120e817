// The guest kernel's symbol table (kallsyms), as found in its memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guest_address.h"

namespace glasshook::linux_guest {

struct Symbol {
  Gva address;
  char type = '?';  ///< as nm prints it: t/T text, d/D data, A absolute
  std::string name;
};

/// Symbols of the core kernel and of loaded modules, sorted by address. Safe from any thread.
class KernelSymbols {
 public:
  explicit KernelSymbols(std::vector<Symbol> symbols);

  [[nodiscard]] std::size_t size() const { return by_address_.size(); }
  /// First symbol with exactly that name.
  [[nodiscard]] std::optional<Symbol> find(std::string_view name) const;
  /// Text symbols that match a glob (`*`, `?`), in address order.
  [[nodiscard]] std::vector<Symbol> find_functions(std::string_view glob) const;
  /// The symbol that covers an address.
  [[nodiscard]] std::optional<Symbol> at(Gva address) const;
  /// First address behind a symbol: the next symbol's start (at most 1 MiB away).
  [[nodiscard]] Gva end_of(const Symbol& symbol) const;
  /// The names nearest to a misspelt one, best first.
  [[nodiscard]] std::vector<std::string> nearest(std::string_view name, std::size_t count) const;
  [[nodiscard]] const std::vector<Symbol>& all() const { return by_address_; }

 private:
  std::vector<Symbol> by_address_;
  std::vector<std::uint32_t> by_name_;  ///< indices into by_address_, by name, then address
};

}  // namespace glasshook::linux_guest
