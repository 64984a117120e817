// Where functions begin and end, from unwind information (.eh_frame_hdr and .eh_frame: the Linux
// Standard Base, Core Generic, 10.6).
#pragma once

#include <cstdint>
#include <optional>

#include "guest/elf/image.h"

namespace glasshook::elf {

/// Looks functions up in the binary search table; nothing is kept in memory.
class UnwindTable {
 public:
  UnwindTable() = default;

  /// Checks the header at `address` (PT_GNU_EH_FRAME). Empty when it is missing or has no sorted
  /// table of the usual form.
  [[nodiscard]] static std::optional<UnwindTable> open(const Image& image, std::uint64_t address);

  /// The function that holds `address`, or empty when none does or its entry is missing.
  [[nodiscard]] std::optional<Extent> function_at(const Image& image, std::uint64_t address) const;
  [[nodiscard]] std::uint64_t size() const { return count_; }
  /// Function `index` in order of address.
  [[nodiscard]] std::optional<Extent> function(const Image& image, std::uint64_t index) const;

 private:
  struct Entry {
    std::uint64_t function = 0;     ///< its first address
    std::uint64_t description = 0;  ///< of its FDE
  };
  [[nodiscard]] std::optional<Entry> entry(const Image& image, std::uint64_t index) const;

  std::uint64_t header_ = 0;  ///< what table entries are relative to
  std::uint64_t table_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace glasshook::elf
