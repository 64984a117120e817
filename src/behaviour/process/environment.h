// What matters of a process's environment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace glasshook::behaviour {

/// 16 hexadecimal digits (XXH3, 64 bits) that are the same for the same environment block.
[[nodiscard]] std::string environment_hash(std::string_view block);

/// The variables that make the dynamic loader load or find other code (ld.so(8)), as NAME=VALUE.
/// At most 16.
[[nodiscard]] std::vector<std::string> loader_variables(std::string_view block);

}  // namespace glasshook::behaviour
