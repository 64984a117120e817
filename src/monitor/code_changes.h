// Code that is not what the file it was mapped from holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/guest_address.h"
#include "behaviour/family.h"

namespace glasshook::monitor {

/// A hooked function's place on a page.
struct NamedEntry {
  std::uint16_t offset = 0;
  std::string name;
};

/// How `now` differs from `original` (both a page); nothing when it does not. `page` is where it is
/// mapped, `entries` are the hooked functions that begin on it: a function counts as changed when
/// any of its first 16 bytes is, which is as far as a jump over it reaches.
[[nodiscard]] std::optional<behaviour::ModifiedCode> compare_code(
    std::span<const std::byte> original, std::span<const std::byte> now, Gva page,
    std::span<const NamedEntry> entries);

/// What was found when a page was asked about, until the record that it ran comes. Safe from any
/// thread.
class CodeChanges {
 public:
  /// Found and not yet taken; beyond that all are forgotten.
  static constexpr std::size_t kMost = 4096;

  void put(Gpa page, std::uint64_t content_hash, behaviour::ModifiedCode change);
  [[nodiscard]] std::optional<behaviour::ModifiedCode> take(Gpa page, std::uint64_t content_hash);

 private:
  std::mutex mutex_;
  std::map<std::pair<Gpa, std::uint64_t>, behaviour::ModifiedCode> found_;
};

}  // namespace glasshook::monitor
