// Wall-clock times as ISO 8601 text.
#pragma once

#include <chrono>
#include <string>

namespace glasshook::behaviour {

/// "2026-11-22T20:02:11.123456789Z", always UTC and 30 characters (years 0000 to 9999).
[[nodiscard]] std::string iso_time(std::chrono::system_clock::time_point time);

/// Bytes iso_time() returns.
inline constexpr std::size_t kIsoTimeLength = 30;

/// The same into a buffer, without allocation.
void write_iso_time(std::chrono::system_clock::time_point time, char (&out)[kIsoTimeLength]);

}  // namespace glasshook::behaviour
