#include "capture/guest_reader.h"

#include <algorithm>
#include <optional>

namespace glasshook::capture {
namespace {

constexpr std::uint64_t kTableEntries = 512;

/// Other vCPUs write the tables meanwhile: each entry is loaded once, as a whole.
std::uint64_t load_entry(const std::byte* entry) {
  return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(entry), __ATOMIC_RELAXED);
}

}  // namespace

bool GuestReader::translate(Gva page, Space space) noexcept {
  const auto number = static_cast<std::size_t>(space);
  Region& region = regions_[number][page.value / kRegionSize % kCachedRegions];
  const bool known = region.begin == (page.value & ~(kRegionSize - 1));
  const std::byte* host = known ? region.find(ram_, page) : walk(page, number, region);
  if (host == nullptr) return false;
  const std::size_t slot = slot_of(page);
  keys_[number][slot] = page.value;
  distances_[number][slot] = reinterpret_cast<std::uintptr_t>(host) - page.value;
  return true;
}

const std::byte* GuestReader::Region::find(const GuestRam& ram, Gva page) const noexcept {
  constexpr std::uint64_t kPresent = 1;
  if (table == nullptr) return reinterpret_cast<const std::byte*>(page.value + distance);
  const std::uint64_t entry =
      load_entry(table + page.value / kPageSize % kTableEntries * sizeof entry);
  return (entry & kPresent) == 0 ? nullptr : ram.at(Gpa{entry & kCr3RootMask}, kPageSize);
}

const std::byte* GuestReader::walk(Gva page, std::size_t space, Region& region) const noexcept {
  Gpa last;  // entry that was read
  const auto read_entry = [&](Gpa entry) -> std::optional<std::uint64_t> {
    last = entry;
    const std::byte* host = ram_.at(entry, sizeof(std::uint64_t));
    if (host == nullptr) return std::nullopt;
    return load_entry(host);
  };
  const auto found = walk_page_tables(spaces_[space], page, read_entry);
  if (!found) return nullptr;
  const std::byte* host = ram_.at(found->gpa, kPageSize);
  const std::uint64_t in_region = page.value % kRegionSize;
  if (found->page_size == kPageSize) {
    region.table = ram_.at(last.page(), kPageSize);
    region.begin = page.value - in_region;
  } else if (ram_.at(Gpa{found->gpa.value - in_region}, kRegionSize) != nullptr) {
    region.table = nullptr;
    region.distance = reinterpret_cast<std::uintptr_t>(host) - page.value;
    region.begin = page.value - in_region;
  }
  return host;
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

GuestReader::Text GuestReader::copy_string(Gva from, Space space,
                                           std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  while (done < out.size()) {
    const Gva at = from + done;
    const std::byte* host = host_address(at, space);
    if (host == nullptr) return {.length = done, .terminated = false, .faulted = true};
    const std::size_t piece = std::min(out.size() - done, left_in_page(at));
    const std::size_t length = copy_to_nul(out.data() + done, host, piece);
    done += length;
    if (length < piece) return {.length = done, .terminated = true, .faulted = false};
  }
  return {.length = done, .terminated = false, .faulted = false};
}

GuestReader::Text GuestReader::copy_utf16(Gva from, Space space,
                                          std::span<std::byte> out) noexcept {
  constexpr std::size_t kPiece = 64;
  out = out.first(out.size() & ~std::size_t{1});
  for (std::size_t done = 0; done < out.size();) {
    const std::span piece = out.subspan(done, std::min(kPiece, out.size() - done));
    const std::size_t copied = copy(from + done, space, piece) & ~std::size_t{1};
    for (std::size_t unit = done; unit < done + copied; unit += 2)
      if (out[unit] == std::byte{0} && out[unit + 1] == std::byte{0})
        return {.length = unit, .terminated = true, .faulted = false};
    done += copied;
    if (copied < piece.size()) return {.length = done, .terminated = false, .faulted = true};
  }
  return {.length = out.size(), .terminated = false, .faulted = false};
}

}  // namespace glasshook::capture
