// A file of which not every page is in memory now, but may be later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>

#include "guest/elf/byte_source.h"

namespace glasshook::monitor {

/// Reads page by page and remembers which were missing. Used from one thread.
class GrowingFile : public elf::ByteSource {
 public:
  /// Pages remembered as missing.
  static constexpr std::size_t kMaxMissing = 4096;

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const final;
  [[nodiscard]] std::uint64_t misses() const final { return misses_; }
  [[nodiscard]] const std::set<std::uint64_t>& missing() const { return missing_; }

  /// Bytes of the whole file.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// True when that page is there now.
  [[nodiscard]] virtual bool has_page(std::uint64_t index) const = 0;

 protected:
  /// Copies bytes within one page. False when it is not there.
  [[nodiscard]] virtual bool read_page(std::uint64_t index, std::uint64_t in_page,
                                       std::span<std::byte> out) const = 0;

 private:
  mutable std::uint64_t misses_ = 0;
  mutable std::set<std::uint64_t> missing_;
};

}  // namespace glasshook::monitor
