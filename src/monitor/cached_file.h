// A file of the guest, as far as its page cache holds it.
#pragma once

#include <array>
#include <cstring>
#include <optional>

#include "guest/linux/page_cache.h"
#include "monitor/growing_file.h"

namespace glasshook::monitor {

/// Keeps the page it read last, since parsers read many small things side by side. For one thread.
class CachedFile final : public GrowingFile {
 public:
  /// `mapping`: the file's struct address_space.
  CachedFile(const linux_guest::PageCache& cache, Gva mapping)
      : cache_(cache), mapping_(mapping), size_(cache.file_size(mapping)) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool has_page(std::uint64_t index) const override {
    return cache_.find(mapping_, index).has_value();
  }

 protected:
  [[nodiscard]] bool read_page(std::uint64_t index, std::uint64_t in_page,
                               std::span<std::byte> out) const override {
    if (loaded_ != index) {
      loaded_.reset();
      if (!cache_.read(mapping_, index * kPageSize, page_)) return false;
      loaded_ = index;
    }
    std::memcpy(out.data(), page_.data() + in_page, out.size());
    return true;
  }

 private:
  linux_guest::PageCache cache_;
  Gva mapping_;
  std::uint64_t size_;
  mutable std::array<std::byte, kPageSize> page_;
  mutable std::optional<std::uint64_t> loaded_;
};

}  // namespace glasshook::monitor
