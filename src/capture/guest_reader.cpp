#include "capture/guest_reader.h"

#include <algorithm>

namespace glasshook::capture {
const std::byte* GuestReader::translate_by(PageEntry entry, Gva address, Space space) noexcept {
  if (!entry.present()) return nullptr;
  const std::byte* table = ram_.at(entry.table(), kPageSize);
  if (table == nullptr) return nullptr;
  const PageEntry page = load_entry(table, address, kPageShift);
  return page.present() ? translate_page(page.map(address.page()), address, space) : nullptr;
}

const std::byte* GuestReader::translate_page(Gpa page, Gva address, Space space) noexcept {
  const std::byte* host = ram_.at(page, kPageSize);
  if (host == nullptr) return nullptr;
  host += address.page_offset();
  page_keys_[page_slot(address)] = page_key(address, space);
  page_distances_[page_slot(address)] = reinterpret_cast<std::uintptr_t>(host) - address.value;
  return host;
}

const std::byte* GuestReader::translate_anew(Gva address, Space space) noexcept {
  return find(directories_[directory_slot(address)], address, space) ? translate(address, space)
                                                                     : nullptr;
}

bool GuestReader::find(Directory& directory, Gva address, Space space) const noexcept {
  const AddressSpace& tables = spaces_[static_cast<std::size_t>(space)];
  if (!is_canonical(tables, address)) return false;
  Gpa next{tables.root.value & kCr3RootMask};
  for (int shift = root_shift(tables); shift >= kDirectoryShift; shift -= 9) {
    const std::byte* table = ram_.at(next, kPageSize);
    if (table == nullptr) return false;
    const PageEntry entry = load_entry(table, address, shift);
    if (!entry.present()) return false;
    if (entry.is_leaf()) {
      directory = {
          .key = directory_key(address, space), .table = nullptr, .first = entry.map(Gva{0})};
      return true;
    }
    next = entry.table();
  }
  const std::byte* table = ram_.at(next, kPageSize);
  if (table != nullptr)
    directory = {.key = directory_key(address, space), .table = table, .first = {}};
  return table != nullptr;
}

bool GuestReader::load_across(Gva from, std::size_t size, Space space,
                              std::uint64_t& out) noexcept {
  out = 0;
  return copy(from, space, std::as_writable_bytes(std::span{&out, 1}).first(size)) == size;
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
