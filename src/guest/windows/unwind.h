// Where functions begin and end, from a PE module's unwind data (.pdata; Microsoft's "x64 exception
// handling").
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "guest/windows/image.h"
#include "guest/windows/pe_format.h"

namespace glasshook::windows {

/// Looks functions up in the sorted table; nothing is kept in memory. A function may be in several
/// parts: all but the first (the primary) are chained to it.
class UnwindTable {
 public:
  UnwindTable() = default;
  explicit UnwindTable(Extent directory);

  [[nodiscard]] std::uint64_t size() const { return count_; }
  /// Entry `index` in order of address; empty when it is missing or makes no sense.
  [[nodiscard]] std::optional<Extent> entry(const Image& image, std::uint64_t index) const;
  /// The part that holds an RVA.
  [[nodiscard]] std::optional<Extent> part_at(const Image& image, std::uint64_t rva) const;
  /// The first entry that begins above `rva`; empty when there is none or it is missing.
  [[nodiscard]] std::optional<Extent> next(const Image& image, std::uint64_t rva) const;
  /// The primary part of the function that holds an RVA. Chains have a budget.
  [[nodiscard]] std::optional<Extent> primary_at(const Image& image, std::uint64_t rva) const;
  /// The primary part of the function at `rva` and the parts in a row behind it.
  [[nodiscard]] std::vector<Extent> parts_at(const Image& image, std::uint64_t rva) const;

 private:
  [[nodiscard]] std::optional<RuntimeFunction> load(const Image& image, std::uint64_t index) const;
  /// Number of entries that begin at or below `rva`; empty when one on the way is missing.
  [[nodiscard]] std::optional<std::uint64_t> rank(const Image& image, std::uint64_t rva) const;
  [[nodiscard]] static std::optional<RuntimeFunction> primary_of(const Image& image,
                                                                 RuntimeFunction function);

  std::uint64_t table_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace glasshook::windows
