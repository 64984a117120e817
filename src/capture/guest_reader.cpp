#include "capture/guest_reader.h"

#include <algorithm>
#include <optional>

namespace glasshook::capture {
namespace {

constexpr std::size_t kNone = ~std::size_t{0};

std::size_t left_in_page(Gva address) { return kPageSize - address.page_offset(); }

}  // namespace

const std::byte* GuestReader::translate(Gva page, Space space) const noexcept {
  // Other vCPUs write the tables meanwhile: each entry is loaded once, as a whole.
  const auto read_entry = [this](Gpa entry) -> std::optional<std::uint64_t> {
    const std::byte* host = ram_.at(entry, sizeof(std::uint64_t));
    if (host == nullptr) return std::nullopt;
    return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(host), __ATOMIC_RELAXED);
  };
  const auto found = walk_page_tables(spaces_[static_cast<std::size_t>(space)], page, read_entry);
  return found ? ram_.at(found->gpa, kPageSize) : nullptr;
}

std::size_t GuestReader::copy(Gva from, Space space, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const Gva at = from + done;
    const std::byte* host = host_address(at, space);
    if (host == nullptr) break;
    const std::size_t piece = std::min(out.size() - done, left_in_page(at));
    std::memcpy(out.data() + done, host, piece);
    done += piece;
  }
  return done;
}

template <class Find>
GuestReader::Text GuestReader::copy_until(Gva from, Space space, std::span<std::byte> out,
                                          Find&& find) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const Gva at = from + done;
    const std::byte* host = host_address(at, space);
    if (host == nullptr) return {.length = done, .terminated = false, .faulted = true};
    const std::size_t piece = std::min({kChunk, out.size() - done, left_in_page(at)});
    if (piece == kChunk)
      std::memcpy(out.data() + done, host, kChunk);
    else
      std::memcpy(out.data() + done, host, piece);
    const std::size_t end = find(done, done + piece);
    if (end != kNone) return {.length = end, .terminated = true, .faulted = false};
    done += piece;
  }
  return {.length = done, .terminated = false, .faulted = false};
}

GuestReader::Text GuestReader::copy_string(Gva from, Space space,
                                           std::span<std::byte> out) noexcept {
  return copy_until(from, space, out, [out](std::size_t begin, std::size_t end) {
    const void* nul = std::memchr(out.data() + begin, 0, end - begin);
    return nul ? static_cast<std::size_t>(static_cast<const std::byte*>(nul) - out.data()) : kNone;
  });
}

GuestReader::Text GuestReader::copy_utf16(Gva from, Space space,
                                          std::span<std::byte> out) noexcept {
  out = out.first(out.size() & ~std::size_t{1});
  Text text = copy_until(from, space, out, [out](std::size_t begin, std::size_t end) {
    for (std::size_t unit = begin & ~std::size_t{1}; unit + 2 <= end; unit += 2)
      if (out[unit] == std::byte{0} && out[unit + 1] == std::byte{0}) return unit;
    return kNone;
  });
  text.length &= ~std::size_t{1};
  return text;
}

}  // namespace glasshook::capture
