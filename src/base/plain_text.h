// Finds the text that every output takes as it is, eight bytes at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace glasshook {

/// True for printable ASCII but quotation marks and backslashes: neither a display, JSON nor a
/// quoted string needs it changed.
[[nodiscard]] constexpr bool is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/// The same of eight bytes at once.
[[nodiscard]] constexpr bool are_plain(std::uint64_t eight) {
  constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101, kTops = 0x80 * kOnes;
  // Not 0 when a byte of `v`, all of them below 0x80, is below `n`.
  const auto below = [](std::uint64_t v, std::uint64_t n) { return (v - n * kOnes) & ~v & kTops; };
  return ((eight & kTops) | below(eight, 0x20) | below(eight ^ '"' * kOnes, 1) |
          below(eight ^ '\\' * kOnes, 1) | below(eight ^ 0x7f * kOnes, 1)) == 0;
}

template <class T>
[[nodiscard]] inline T load_from(const char* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// How many bytes at the start of `text` are plain.
[[nodiscard]] inline std::size_t plain_length(std::string_view text) noexcept {
  std::size_t i = 0;
  while (i + 8 <= text.size() && are_plain(load_from<std::uint64_t>(text.data() + i))) i += 8;
  while (i < text.size() && is_plain(static_cast<unsigned char>(text[i]))) ++i;
  return i;
}

/// True when all of `text` is plain.
[[nodiscard]] inline bool is_plain_text(std::string_view text) noexcept {
  const char* at = text.data();
  const std::size_t size = text.size();
  // The last bytes of a text are looked at together with some before them, once more.
  if (size >= 8) {
    for (std::size_t i = 0; i + 8 < size; i += 8)
      if (!are_plain(load_from<std::uint64_t>(at + i))) return false;
    return are_plain(load_from<std::uint64_t>(at + size - 8));
  }
  if (size >= 4)
    return are_plain(std::uint64_t{load_from<std::uint32_t>(at + size - 4)} << 32 |
                     load_from<std::uint32_t>(at));
  return plain_length(text) == size;
}

}  // namespace glasshook
