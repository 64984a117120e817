// What open(2) was asked for, in words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace glasshook::behaviour {

/// "O_RDWR|O_CREAT|O_CLOEXEC" (Linux x86-64 values; O_LARGEFILE is left out: 64-bit programs always
/// have it).
[[nodiscard]] std::string open_flag_names(std::uint64_t flags);

/// ECS file.type of an inode's mode: "file", "dir", "symlink", "character_device", ...
[[nodiscard]] std::string_view file_type(std::uint64_t mode);

}  // namespace glasshook::behaviour
