#include "api/lexer.h"

#include <charconv>

#include "base/text.h"

namespace glasshook::api {
namespace {

bool is_word_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_word_start(c) || is_digit(c); }

}  // namespace

void Lexer::advance() {
  if (source_[position_] == '\n') {
    ++place_.line;
    place_.column = 1;
  } else {
    ++place_.column;
  }
  ++position_;
}

void Lexer::skip(std::size_t count) {
  place_.column += static_cast<std::uint32_t>(count);
  position_ += count;
}

void Lexer::skip_word() {
  std::size_t count = 0;
  while (is_word(peek(count))) ++count;
  skip(count);
}

/// Skips blanks, line ends and comments; true when a line ended.
bool Lexer::skip_blanks() {
  bool line_ended = false;
  while (!at_end()) {
    const char c = peek();
    if (c == '#') {
      while (!at_end() && peek() != '\n') advance();
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      line_ended |= c == '\n';
      advance();
    } else {
      break;
    }
  }
  return line_ended;
}

std::string_view Lexer::rest_of_line() {
  const std::size_t begin = position_;
  while (!at_end() && peek() != '\n' && peek() != '#') advance();
  return source_.substr(begin, position_ - begin);
}

Result<Token> Lexer::next() {
  const Place before = place_;
  if (skip_blanks()) return Token{TokenKind::newline, "end of line", 0, before};
  Token token{TokenKind::end, "end of file", 0, place_};
  if (at_end()) return token;

  const std::size_t begin = position_;
  const char c = peek();
  if (is_word_start(c)) {
    skip_word();
    token.kind = TokenKind::word;
  } else if (is_digit(c) || (c == '-' && is_digit(peek(1)))) {
    if (c == '-') advance();
    return number(token, c == '-');
  } else {
    const std::string_view rest = source_.substr(position_);
    constexpr std::string_view kOneCharacter = "(){}<>[]:,|&=!*@-.";
    std::size_t size = kOneCharacter.contains(c) ? 1 : 0;
    if (rest.starts_with("->")) size = 2;
    if (rest.starts_with("...")) size = 3;
    skip(size);
    if (size > 0) token.kind = TokenKind::symbol;
    if (token.kind == TokenKind::end)
      return fail(ErrorCode::invalid_argument, "unexpected character '{}'",
                  to_printable(source_.substr(position_, 1)));
  }
  token.text = source_.substr(begin, position_ - begin);
  return token;
}

Result<Token> Lexer::number(Token token, bool negative) {
  const std::size_t begin = position_;
  skip_word();
  token.kind = TokenKind::number;
  token.text = source_.substr(begin, position_ - begin);

  std::string_view digits = token.text;
  int base = 10;
  if (digits.starts_with("0x")) base = 16;
  if (digits.starts_with("0o")) base = 8;
  if (base != 10) {
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    return with_remedy(fail(ErrorCode::invalid_argument, "ambiguous number {}", token.text),
                       fmt::format("write octal as 0o{}, hex as 0x...", digits.substr(1)));
  }
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), token.number, base);
  if (error != std::errc{} || end != digits.data() + digits.size())
    return fail(ErrorCode::invalid_argument, "{} is not a number of 64 bits", token.text);
  if (negative) token.number = ~token.number + 1;
  return token;
}

}  // namespace glasshook::api
