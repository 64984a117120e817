#include "capture/guest_reader.h"

#include <algorithm>

namespace glasshook::capture {
namespace {

constexpr int kPageShift = 12, kRegionShift = 21, kDirectoryShift = 30;

/// Other vCPUs write the tables meanwhile: each entry is loaded once, as a whole.
PageEntry load_entry(const std::byte* table, Gva address, int shift) {
  const std::byte* at = table + entry_offset(address, shift);
  return {.bits = __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at), __ATOMIC_RELAXED),
          .shift = shift};
}

}  // namespace

[[gnu::always_inline]] inline const std::byte* GuestReader::Region::find(const GuestRam& ram,
                                                                         Gva page) const noexcept {
  if (table == nullptr)
    return distance != 0 ? reinterpret_cast<const std::byte*>(page.value + distance)
                         : ram.at(first + (page.value - begin), kPageSize);
  const PageEntry entry = load_entry(table, page, kPageShift);
  return entry.present() ? ram.at(entry.map(page), kPageSize) : nullptr;
}

[[gnu::always_inline]] inline bool GuestReader::find_region(Gva page, std::size_t space,
                                                            Region& region) noexcept {
  const std::uint64_t key = (page.value & ~(kDirectorySize - 1)) + space;
  Directory& directory = directories_[page.value / kDirectorySize % kCachedDirectories];
  if (directory.key != key && !find_directory(page, space, directory)) return false;
  const Gva begin{page.value & ~(kRegionSize - 1)};
  Gpa first = directory.first + begin.value % kDirectorySize;
  if (directory.table != nullptr) {
    const PageEntry entry = load_entry(directory.table, page, kRegionShift);
    if (!entry.present()) return false;
    if (!entry.is_leaf()) {
      const std::byte* table = ram_.at(entry.table(), kPageSize);
      if (table == nullptr) return false;
      region = {.begin = begin.value, .table = table, .distance = 0, .first = {}};
      return true;
    }
    first = entry.map(begin);
  }
  const std::byte* host = ram_.at(first, kRegionSize);
  region = {.begin = begin.value,
            .table = nullptr,
            .distance = host == nullptr ? 0 : reinterpret_cast<std::uintptr_t>(host) - begin.value,
            .first = first};
  return true;
}

bool GuestReader::find_directory(Gva page, std::size_t space, Directory& directory) const noexcept {
  const AddressSpace& tables = spaces_[space];
  const Gva begin{page.value & ~(kDirectorySize - 1)};
  const std::uint64_t key = begin.value + space;
  if (!is_canonical(tables, page)) return false;
  Gpa next{tables.root.value & kCr3RootMask};
  for (int shift = root_shift(tables); shift >= kDirectoryShift; shift -= 9) {
    const std::byte* table = ram_.at(next, kPageSize);
    if (table == nullptr) return false;
    const PageEntry entry = load_entry(table, page, shift);
    if (!entry.present()) return false;
    if (entry.is_leaf()) {
      directory = {.key = key, .table = nullptr, .first = entry.map(begin)};
      return true;
    }
    next = entry.table();
  }
  const std::byte* table = ram_.at(next, kPageSize);
  if (table != nullptr) directory = {.key = key, .table = table, .first = {}};
  return table != nullptr;
}

bool GuestReader::translate(Gva page, Space space) noexcept {
  const auto number = static_cast<std::size_t>(space);
  Region& region = regions_[number][page.value / kRegionSize % kCachedRegions];
  if (region.begin != (page.value & ~(kRegionSize - 1)) && !find_region(page, number, region))
    return false;
  const std::byte* host = region.find(ram_, page);
  if (host == nullptr) return false;
  const std::size_t slot = slot_of(page);
  keys_[number][slot] = page.value;
  distances_[number][slot] = reinterpret_cast<std::uintptr_t>(host) - page.value;
  return true;
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
