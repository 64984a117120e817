// What earlier runs of a vCPU's programs learnt of page tables.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/guest_address.h"

namespace glasshook::capture {

/// The entries that map regions of 2 MiB: a table of them, or a page that all these lie in.
struct Directory {
  std::uint64_t key = kUnused;       ///< the first address plus the space
  const std::byte* table = nullptr;  ///< nullptr: the regions lie side by side
  Gpa first;                         ///< then: from here on

  static constexpr std::uint64_t kUnused = 2;  ///< no key
};

/// Directories by what led to them. Nothing is taken on trust: the entries on the way are read
/// again before a directory is used, and have to say what they said. One for each vCPU, used by one
/// thread at a time; guest RAM stays where it is as long as it lives.
class DirectoryCache {
 public:
  /// The way from the root of an address space, of three entries at most.
  struct Walked {
    static constexpr std::size_t kMostSteps = 3;

    Directory directory;
    AddressSpace space;
    std::size_t steps = 0;
    std::array<const std::uint64_t*, kMostSteps> places{};
    std::array<std::uint64_t, kMostSteps> entries{};

    /// Other vCPUs write the tables meanwhile: the entry is loaded once, as a whole.
    std::uint64_t follow(const std::byte* place) noexcept {
      places[steps] = reinterpret_cast<const std::uint64_t*>(place);
      entries[steps] = __atomic_load_n(places[steps], __ATOMIC_RELAXED);
      return entries[steps++];
    }
    [[nodiscard]] bool is_still(std::uint64_t key, AddressSpace of) const noexcept {
      if (directory.key != key || space != of) return false;
      for (std::size_t i = 0; i < kMostSteps && i < steps; ++i)
        if (__atomic_load_n(places[i], __ATOMIC_RELAXED) != entries[i]) return false;
      return true;
    }
  };

  /// Where the directory with that key is kept, or another one still.
  [[nodiscard]] Walked& slot(std::uint64_t key) noexcept {
    return walked_[key * 0x9e3779b97f4a7c15 >> 58];
  }

 private:
  std::array<Walked, 64> walked_{};
};

}  // namespace glasshook::capture
