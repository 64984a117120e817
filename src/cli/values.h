// Values people write on a command line: sizes and times.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace glasshook::cli {

/// Bytes: a whole number with an optional K, M, G or T (powers of 1024; "MiB", "MB" and lower case
/// mean the same). A number without a unit counts `unit` bytes.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit = 1);

/// "90", "90s", "1.5m", "2h", "250ms", "1m30s": seconds when there is no unit. More than 0 and at
/// most a year.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace glasshook::cli
