#include "capture/guest_reader.h"

#include <algorithm>

namespace glasshook::capture {

bool GuestReader::load(Gva from, std::size_t size, Space space, std::uint64_t& out) noexcept {
  out = 0;
  if (from.page_offset() + size > kPageSize) [[unlikely]]
    return copy(from, space, std::as_writable_bytes(std::span{&out, 1}).first(size)) == size;
  const std::byte* host = host_address(from, space);
  if (host == nullptr) return false;
  copy_small(&out, host, size);
  return true;
}

const std::byte* GuestReader::translate_anew(Gva address, Space space) noexcept {
  const Directory* directory = directories_[directory_slot(address)];
  if (directory->key != directory_key(address, space)) {
    directory = find_directory(address, space);
    if (directory == nullptr) return nullptr;
  }
  if (directory->table == nullptr) [[unlikely]]
    return translate_in(directory->first + region_in_directory(address), address, space);
  const PageEntry entry = load_entry(directory->table, address, kRegionShift);
  if (!entry.present()) return nullptr;
  if (entry.is_leaf()) return translate_in(entry.map(Gva{0}), address, space);
  const std::byte* table = ram_.page_at(entry.table());
  if (table == nullptr) return nullptr;
  const PageEntry page = load_entry(table, address, kPageShift);
  return page.present() ? translate_page(page.map(Gva{0}), address, space) : nullptr;
}

const std::byte* GuestReader::translate_page(Gpa page, Gva address, Space space) noexcept {
  const std::byte* host = ram_.page_at(page);
  if (host == nullptr) return nullptr;
  host += address.page_offset();
  const std::size_t slot = page_slot(address);
  page_keys_[slot] = page_key(address, space);
  page_distances_[slot] = reinterpret_cast<std::uintptr_t>(host) - address.value;
  return host;
}

inline const Directory* GuestReader::find_directory(Gva address, Space space) noexcept {
  const std::uint64_t key = directory_key(address, space);
  DirectoryCache::Walked& way = known_.slot(key);
  if (!way.is_still(key, spaces_[static_cast<std::size_t>(space)]) && !walk(way, address, space))
    return nullptr;
  return directories_[directory_slot(address)] = &way.directory;
}

/// What lay in the slot may be in use by this run no more.
bool GuestReader::walk(DirectoryCache::Walked& way, Gva address, Space space) const noexcept {
  const AddressSpace& tables = spaces_[static_cast<std::size_t>(space)];
  way = {};
  way.space = tables;
  if (!is_canonical(tables, address)) return false;
  Gpa at{tables.root.value & kCr3RootMask};
  PageEntry entry;
  for (int shift = root_shift(tables); shift >= kDirectoryShift; shift -= kEntryBits) {
    const std::byte* table = ram_.page_at(at);
    if (table == nullptr) return false;
    entry = {.bits = way.follow(table + entry_offset(address, shift)), .shift = shift};
    if (!entry.present()) return false;
    at = entry.table();
  }
  const std::byte* table = entry.is_leaf() ? nullptr : ram_.page_at(at);
  if (table == nullptr && !entry.is_leaf()) return false;
  way.directory = {
      .key = directory_key(address, space), .table = table, .first = entry.map(Gva{0})};
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
