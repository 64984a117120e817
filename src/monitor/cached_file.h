// A file of the guest, as far as its page cache holds it.
#pragma once

#include <array>
#include <cstring>
#include <optional>

#include "guest/elf/byte_source.h"
#include "guest/linux/page_cache.h"

namespace glasshook::monitor {

/// Keeps the page it read last, since parsers read many small things side by side. For one thread.
class CachedFile final : public elf::ByteSource {
 public:
  /// `mapping`: the file's struct address_space.
  CachedFile(const linux_guest::PageCache& cache, Gva mapping) : cache_(cache), mapping_(mapping) {}

  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const override {
    while (!out.empty()) {
      const std::uint64_t in_page = offset % kPageSize;
      const std::size_t size = std::min<std::size_t>(out.size(), kPageSize - in_page);
      if (!load(offset / kPageSize)) return false;
      std::memcpy(out.data(), page_.data() + in_page, size);
      out = out.subspan(size);
      offset += size;
    }
    return true;
  }

 private:
  bool load(std::uint64_t index) const {
    if (loaded_ == index) return true;
    loaded_.reset();
    if (!cache_.read(mapping_, index * kPageSize, page_)) return false;
    loaded_ = index;
    return true;
  }

  linux_guest::PageCache cache_;
  Gva mapping_;
  mutable std::array<std::byte, kPageSize> page_;
  mutable std::optional<std::uint64_t> loaded_;
};

}  // namespace glasshook::monitor
