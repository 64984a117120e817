// Base64 (RFC 4648) for bytes that JSON cannot carry.
#pragma once

#include <string>
#include <string_view>

namespace glasshook {

[[nodiscard]] std::string to_base64(std::string_view bytes);

}  // namespace glasshook
