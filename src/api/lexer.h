// Tokens of the signature language, with their place in the file.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace glasshook::api {

enum class TokenKind : std::uint8_t { word, number, symbol, newline, end };

/// Where a token begins; both count from 1.
struct Place {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;  ///< borrowed from the source
  std::uint64_t number = 0;
  Place place;

  [[nodiscard]] bool is(std::string_view symbol) const {
    return kind == TokenKind::symbol && text == symbol;
  }
};

/// Cuts a source text into tokens. Comments (`#` to the end of the line) and blanks are dropped;
/// several line ends are one `newline` token.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  /// The next token, or an invalid_argument error whose message has no place (see place()).
  Result<Token> next();
  /// Words up to the end of the line, for names that may hold any character but blanks.
  [[nodiscard]] std::string_view rest_of_line();
  /// True when the very next character is `c`.
  [[nodiscard]] bool next_is(char c) const { return peek() == c; }
  [[nodiscard]] Place place() const { return place_; }

 private:
  [[nodiscard]] bool at_end() const { return position_ == source_.size(); }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0';
  }
  void advance();
  /// Skips characters that end no line.
  void skip(std::size_t count);
  void skip_word();
  bool skip_blanks();
  Result<Token> number(Token token, bool negative);

  std::string_view source_;
  std::size_t position_ = 0;
  Place place_;
};

}  // namespace glasshook::api
