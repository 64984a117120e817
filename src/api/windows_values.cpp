#include "api/windows_values.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

namespace glasshook::api {
namespace {

/// Little-endian value of 1 to 8 bytes.
std::uint64_t load(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min<std::size_t>(bytes.size(), sizeof value));
  return value;
}

}  // namespace

std::string guid_text(std::span<const std::byte> bytes) {
  if (bytes.size() < kGuidBytes) return {};
  std::string text = fmt::format("{{{:08X}-{:04X}-{:04X}-", load(bytes.first(4)),
                                 load(bytes.subspan(4, 2)), load(bytes.subspan(6, 2)));
  for (std::size_t i = 8; i < kGuidBytes; ++i) {
    if (i == 10) text += '-';
    text += fmt::format("{:02X}", load(bytes.subspan(i, 1)));
  }
  return text + "}";
}

std::string sid_text(std::span<const std::byte> bytes) {
  // winnt.h, SID: revision, count, a big-endian authority of 6 bytes, the parts.
  constexpr std::size_t kHeader = 8, kMaxParts = 15;
  if (bytes.size() < kHeader || bytes[0] != std::byte{1}) return {};
  const auto parts = std::to_integer<std::size_t>(bytes[1]);
  if (parts > kMaxParts || bytes.size() < kHeader + 4 * parts) return {};
  std::uint64_t authority = 0;
  for (std::size_t i = 2; i < kHeader; ++i)
    authority = authority << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  std::string text =
      authority >> 32 ? fmt::format("S-1-{:#x}", authority) : fmt::format("S-1-{}", authority);
  for (std::size_t i = 0; i < parts; ++i)
    text += fmt::format("-{}", load(bytes.subspan(kHeader + 4 * i, 4)));
  return text;
}

std::string filetime_text(std::uint64_t value) {
  using namespace std::chrono;
  constexpr std::uint64_t kTicks = 10'000'000;  // a second
  constexpr sys_days kEpoch = year{1601} / January / 1;
  constexpr std::uint64_t kEnd = static_cast<std::uint64_t>(
      duration_cast<seconds>(sys_days{year{10000} / January / 1} - kEpoch).count());
  if (value == 0 || value / kTicks >= kEnd) return std::to_string(static_cast<std::int64_t>(value));
  const sys_seconds at = kEpoch + seconds(static_cast<std::int64_t>(value / kTicks));
  const auto day = floor<days>(at);
  const year_month_day date{day};
  const hh_mm_ss time{at - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:07}Z", int{date.year()},
                     unsigned{date.month()}, unsigned{date.day()}, time.hours().count(),
                     time.minutes().count(), time.seconds().count(), value % kTicks);
}

std::string utf8_of_utf16(std::span<const std::byte> bytes) {
  const auto unit = [&](std::size_t i) {
    return static_cast<std::uint32_t>(load(bytes.subspan(2 * i, 2)));
  };
  const auto append = [](std::string& out, std::uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xc0 | c >> 6);
    } else {
      if (c < 0x10000) {
        out += static_cast<char>(0xe0 | c >> 12);
      } else {
        out += static_cast<char>(0xf0 | c >> 18);
        out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
      }
      out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80) out += static_cast<char>(0x80 | (c & 0x3f));
  };
  std::string out;
  const std::size_t units = bytes.size() / 2;
  for (std::size_t i = 0; i < units; ++i) {
    std::uint32_t c = unit(i);
    if (c >= 0xd800 && c < 0xe000) {
      const bool paired = c < 0xdc00 && i + 1 < units && (unit(i + 1) & 0xfc00) == 0xdc00;
      c = paired ? 0x10000 + ((c - 0xd800) << 10) + (unit(++i) - 0xdc00) : 0xfffd;
    }
    append(out, c);
  }
  return out;
}

}  // namespace glasshook::api
