#include "guest/linux/symbols.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/text.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::uint64_t kMaxSymbolBytes = 1u << 20;

/// Text, weak and indirect functions.
bool is_function(const Symbol& symbol) {
  return symbol.type == 't' || symbol.type == 'T' || symbol.type == 'w' || symbol.type == 'W' ||
         symbol.type == 'i';
}

}  // namespace

KernelSymbols::KernelSymbols(std::vector<Symbol> symbols) : by_address_(std::move(symbols)) {
  if (!std::ranges::is_sorted(by_address_, {}, &Symbol::address))
    std::ranges::stable_sort(by_address_, {}, &Symbol::address);
  by_name_.resize(by_address_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  // Sorted, not hashed: the names are the guest's and could be made to collide.
  std::ranges::stable_sort(
      by_name_, {}, [this](std::uint32_t i) -> std::string_view { return by_address_[i].name; });
}

std::optional<Symbol> KernelSymbols::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(
      by_name_, name, {},
      [this](std::uint32_t i) -> std::string_view { return by_address_[i].name; });
  if (at == by_name_.end() || by_address_[*at].name != name) return std::nullopt;
  return by_address_[*at];
}

std::vector<Symbol> KernelSymbols::find_functions(std::string_view glob) const {
  std::vector<Symbol> found;
  for (const Symbol& symbol : by_address_)
    if (is_function(symbol) && glob_match(glob, symbol.name)) found.push_back(symbol);
  return found;
}

std::optional<Symbol> KernelSymbols::at(Gva address) const {
  const auto behind = std::ranges::upper_bound(by_address_, address, {}, &Symbol::address);
  if (behind == by_address_.begin()) return std::nullopt;
  // The first of the names that share the address, as the kernel itself prints it.
  const auto first =
      std::ranges::lower_bound(by_address_, std::prev(behind)->address, {}, &Symbol::address);
  return address < end_of(*first) ? std::optional{*first} : std::nullopt;
}

Gva KernelSymbols::end_of(const Symbol& symbol) const {
  const auto next = std::ranges::upper_bound(by_address_, symbol.address, {}, &Symbol::address);
  const Gva limit = symbol.address.value > ~0ull - kMaxSymbolBytes
                        ? Gva{~0ull}
                        : symbol.address + kMaxSymbolBytes;
  return next == by_address_.end() ? limit : std::min(next->address, limit);
}

std::vector<std::string> KernelSymbols::nearest(std::string_view name, std::size_t count) const {
  const std::size_t limit = std::max<std::size_t>(1, std::min<std::size_t>(name.size() / 3, 6));
  std::vector<std::pair<std::size_t, std::string_view>> close;
  for (const std::uint32_t i : by_name_) {
    const std::string_view candidate = by_address_[i].name;
    if (!close.empty() && close.back().second == candidate) continue;
    const std::size_t distance = edit_distance(name, candidate, limit);
    if (distance <= limit) close.emplace_back(distance, candidate);
  }
  std::ranges::stable_sort(close, {}, &std::pair<std::size_t, std::string_view>::first);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < close.size() && i < count; ++i) names.emplace_back(close[i].second);
  return names;
}

}  // namespace glasshook::linux_guest
