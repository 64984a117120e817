// Linux error numbers of x86-64: names and messages.
#pragma once

#include <cstdint>
#include <string_view>

namespace glasshook::api {

/// Largest error a pointer or a negative result can hold (include/linux/err.h, MAX_ERRNO).
inline constexpr std::uint64_t kMaxErrno = 4095;

/// "ENOENT" for 2; empty when the number has no name.
[[nodiscard]] std::string_view errno_name(std::uint32_t number);

/// "No such file or directory" for 2; empty when the number has no name.
[[nodiscard]] std::string_view errno_message(std::uint32_t number);

}  // namespace glasshook::api
