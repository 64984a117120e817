#include "hook/lexer.h"

#include <array>
#include <charconv>

#include "hook/expression.h"

namespace glasshook::hook {
namespace {

// <cctype> depends on the locale; the language does not.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name(char c) { return is_name_start(c) || is_digit(c); }

constexpr std::array<std::string_view, 9> kTwoCharacter = {
    "->", "<<", ">>", "==", "!=", "<=", ">=", "!~", "??"};
constexpr std::string_view kOneCharacter = "()[].,&|+-*!@<>~";

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    for (;;) {
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
      Result<Token> token = next();
      if (!token) return std::unexpected(token.error());
      const bool last = token->kind == TokenKind::end;
      tokens.push_back(std::move(*token));
      if (last) return tokens;
    }
  }

 private:
  Result<Token> next() {
    Token token{.kind = TokenKind::end, .column = at_ + 1, .text = {}, .number = 0};
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (is_digit(c)) return number(token);
    if (c == '"') return string(token);
    if (is_name_start(c)) {
      token.kind = TokenKind::name;
      while (at_ < text_.size() && is_name(text_[at_])) token.text += text_[at_++];
      return token;
    }
    token.kind = TokenKind::punctuation;
    for (const std::string_view two : kTwoCharacter)
      if (text_.substr(at_, 2) == two) token.text = two;
    if (token.text.empty() && kOneCharacter.find(c) != std::string_view::npos) token.text = c;
    if (token.text.empty()) return expression_error(text_, token.column, "unexpected character");
    at_ += token.text.size();
    return token;
  }

  Result<Token> number(Token token) {
    token.kind = TokenKind::number;
    int base = 10;
    const bool prefixed = text_[at_] == '0' && at_ + 1 < text_.size();
    if (prefixed && (text_[at_ + 1] == 'x' || text_[at_ + 1] == 'X')) {
      base = 16;
      at_ += 2;
    } else if (prefixed && is_digit(text_[at_ + 1])) {
      base = 8;
      ++at_;
    }
    const char* begin = text_.data() + at_;
    const auto [stop, error] =
        std::from_chars(begin, text_.data() + text_.size(), token.number, base);
    at_ += static_cast<std::size_t>(stop - begin);
    if (error != std::errc{} || (at_ < text_.size() && is_name(text_[at_])))
      return expression_error(text_, token.column, "bad number");
    return token;
  }

  Result<Token> string(Token token) {
    token.kind = TokenKind::string;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      token.text += text_[at_];
    }
    if (at_ == text_.size()) return expression_error(text_, token.column, "string without end");
    ++at_;
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view expression) {
  if (expression.size() > kMaxExpressionLength)
    return fail(ErrorCode::limit, "an expression is longer than {} characters",
                kMaxExpressionLength);
  return Lexer{expression}.run();
}

}  // namespace glasshook::hook
