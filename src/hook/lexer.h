// Tokens of the capture expression language.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glasshook::hook {

enum class TokenKind : std::uint8_t { name, number, string, punctuation, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::size_t column = 1;    ///< from 1
  std::string text;          ///< name, punctuation; a string without quotes and escapes
  std::uint64_t number = 0;  ///< decimal, 0x hexadecimal or 0 octal
};

/// Splits an expression into tokens; the last one is `end`.
[[nodiscard]] Result<std::vector<Token>> tokenize(std::string_view expression);

}  // namespace glasshook::hook
