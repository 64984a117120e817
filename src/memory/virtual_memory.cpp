#include "memory/virtual_memory.h"

#include <algorithm>
#include <cstring>

namespace glasshook {

std::optional<Translation> VirtualMemory::translate(Gva address) const noexcept {
  return walk_page_tables(space_, address, [this](Gpa entry, std::uint64_t& value) {
    return physical_->read(entry, std::as_writable_bytes(std::span{&value, 1}));
  });
}

std::size_t VirtualMemory::read_some(Gva from, std::span<std::byte> out) const noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const Gva at = from + done;
    const std::size_t chunk =
        std::min<std::size_t>(out.size() - done, kPageSize - at.page_offset());
    const auto where = translate(at);
    if (!where || !physical_->read(where->gpa, out.subspan(done, chunk))) break;
    done += chunk;
  }
  return done;
}

bool VirtualMemory::read(Gva from, std::span<std::byte> out) const noexcept {
  return read_some(from, out) == out.size();
}

std::optional<std::string> VirtualMemory::read_string(Gva from, std::size_t max_length) const {
  std::string text;
  std::byte chunk[256];
  while (text.size() < max_length) {
    const Gva at = from + text.size();
    const std::size_t want = std::min({sizeof chunk, max_length - text.size(),
                                       static_cast<std::size_t>(kPageSize - at.page_offset())});
    const std::size_t got = read_some(at, std::span{chunk, want});
    if (got == 0) return text.empty() ? std::nullopt : std::optional{text};
    const auto* chars = reinterpret_cast<const char*>(chunk);
    const std::size_t length = ::strnlen(chars, got);
    text.append(chars, length);
    if (length < got || got < want) break;
  }
  return text;
}

}  // namespace glasshook
