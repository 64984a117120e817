#include "monitor/growing_file.h"

#include <algorithm>

#include "base/guest_address.h"

namespace glasshook::monitor {

bool GrowingFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  // What lies behind the end never comes.
  if (offset > size() || out.size() > size() - offset) return false;
  while (!out.empty()) {
    const std::uint64_t index = offset / kPageSize, in_page = offset % kPageSize;
    const std::size_t chunk = std::min<std::size_t>(out.size(), kPageSize - in_page);
    if (!read_page(index, in_page, out.first(chunk))) {
      ++misses_;
      if (missing_.size() < kMaxMissing) missing_.insert(index);
      return false;
    }
    out = out.subspan(chunk);
    offset += chunk;
  }
  return true;
}

}  // namespace glasshook::monitor
