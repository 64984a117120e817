// Guest physical memory as the monitor sees it: read-only, bounded, never trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/guest_address.h"

namespace glasshook {

/// A run of guest physical addresses, [begin, begin + size).
struct PhysicalExtent {
  Gpa begin;
  std::uint64_t size = 0;
};

/// Read-only access to the RAM of one guest. Implementations are safe to call from any thread.
/// The guest may change the bytes at any time: copy, then check.
class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;

  /// Copies `out.size()` bytes from `from`. False, with `out` unspecified, when any byte is not
  /// RAM.
  [[nodiscard]] virtual bool read(Gpa from, std::span<std::byte> out) const noexcept = 0;

  /// The parts of RAM the guest has ever touched, ascending; what a scan should look at.
  [[nodiscard]] virtual std::vector<PhysicalExtent> populated() const = 0;

  /// The bytes themselves where they are mapped in one piece, else an empty span. For scans only:
  /// what a view shows can change under the reader.
  [[nodiscard]] virtual std::span<const std::byte> view(Gpa from,
                                                        std::uint64_t size) const noexcept = 0;
};

}  // namespace glasshook
