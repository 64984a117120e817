// Values of the Windows API as its own tools write them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace glasshook::api {

inline constexpr std::size_t kGuidBytes = 16;
/// SECURITY_MAX_SID_SIZE: a security identifier with 15 parts.
inline constexpr std::size_t kMaxSidBytes = 68;

/// `{6B29FC40-CA47-1067-B31D-00DD010662DA}`; empty when the bytes are too few.
[[nodiscard]] std::string guid_text(std::span<const std::byte> bytes);

/// `S-1-5-18`; empty when the bytes are too few or no SID of revision 1.
[[nodiscard]] std::string sid_text(std::span<const std::byte> bytes);

/// `2024-05-01T12:00:00.1234567Z` for 100 ns units since 1601; a number for 0 and for what lies
/// outside the years 1601 to 9999 (relative times are negative).
[[nodiscard]] std::string filetime_text(std::uint64_t value);

/// UTF-8 of UTF-16LE; lone surrogates become U+FFFD, an odd last byte is left out.
[[nodiscard]] std::string utf8_of_utf16(std::span<const std::byte> bytes);

}  // namespace glasshook::api
