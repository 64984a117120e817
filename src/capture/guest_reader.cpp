#include "capture/guest_reader.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <optional>

namespace glasshook::capture {
namespace {

std::size_t left_in_page(Gva address) { return kPageSize - address.page_offset(); }

/// Copies up to `size` bytes and stops after a NUL; the bytes before it, or `size`. Whole blocks
/// are searched in the register that carries them over.
std::size_t copy_to_nul(std::byte* to, const std::byte* from, std::size_t size) {
  constexpr std::size_t kBlock = sizeof(__m128i);
  std::size_t done = 0;
  for (; done + kBlock <= size; done += kBlock) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + done), block);
    const int nuls = _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_setzero_si128()));
    if (nuls != 0) return done + static_cast<std::size_t>(std::countr_zero(unsigned(nuls)));
  }
  for (; done < size; ++done) {
    to[done] = from[done];
    if (to[done] == std::byte{0}) break;
  }
  return done;
}

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
