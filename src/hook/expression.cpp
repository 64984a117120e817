#include "hook/expression.h"

#include <optional>
#include <utility>
#include <vector>

#include "hook/lexer.h"

namespace glasshook::hook {
namespace {

using NodePtr = std::unique_ptr<Node>;

struct BinaryOperator {
  std::string_view token;
  NodeKind kind;
  int precedence;  ///< higher binds tighter
};

// Comparisons bind looser than & and |, unlike in C: `flags & 0x40 == 0` means `(flags & 0x40) ==
// 0`.
constexpr BinaryOperator kBinary[] = {
    {"??", NodeKind::alternative, 1},   {"==", NodeKind::equal, 2},
    {"!=", NodeKind::not_equal, 2},     {"<", NodeKind::less, 2},
    {"<=", NodeKind::less_equal, 2},    {">", NodeKind::greater, 2},
    {">=", NodeKind::greater_equal, 2}, {"|", NodeKind::bit_or, 3},
    {"&", NodeKind::bit_and, 4},        {"<<", NodeKind::shift_left, 5},
    {">>", NodeKind::shift_right, 5},   {"+", NodeKind::add, 6},
    {"-", NodeKind::subtract, 6},
};

constexpr std::string_view kIntegerWords[] = {"unsigned", "signed", "long", "int",
                                              "short",    "char",   "void", "_Bool"};

class Parser {
 public:
  Parser(std::string_view text, std::vector<Token> tokens)
      : text_(text), tokens_(std::move(tokens)) {}

  Result<NodePtr> run() {
    Result<NodePtr> node = binary(1);
    if (node && peek().kind != TokenKind::end) return error("unexpected text");
    return node;
  }

 private:
  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  [[nodiscard]] bool is(std::string_view punctuation, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::punctuation && peek(ahead).text == punctuation;
  }
  bool accept(std::string_view punctuation) {
    if (!is(punctuation)) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] std::unexpected<Error> error(std::string message) const {
    return expression_error(text_, peek().column, std::move(message));
  }
  [[nodiscard]] NodePtr make(NodeKind kind, std::size_t column, NodePtr left = {},
                             NodePtr right = {}) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->column = column;
    node->left = std::move(left);
    node->right = std::move(right);
    return node;
  }

  Result<NodePtr> binary(int precedence) {
    Result<NodePtr> left = unary();
    int chain = 0;
    while (left) {
      const BinaryOperator* found = nullptr;
      for (const BinaryOperator& op : kBinary)
        if (is(op.token) && op.precedence >= precedence) found = &op;
      if (found == nullptr) return left;
      if (++chain > kMaxExpressionDepth) return error("too many operators");
      const std::size_t column = tokens_[at_++].column;
      Result<NodePtr> right = binary(found->precedence + 1);
      if (!right) return right;
      left = make(found->kind, column, std::move(*left), std::move(*right));
    }
    return left;
  }

  Result<NodePtr> unary() {
    if (depth_ == kMaxExpressionDepth) return error("nested too deeply");
    ++depth_;
    Result<NodePtr> node = unary_inside();
    --depth_;
    return node;
  }

  Result<NodePtr> unary_inside() {
    constexpr std::pair<std::string_view, NodeKind> kUnary[] = {{"&", NodeKind::address_of},
                                                                {"*", NodeKind::dereference},
                                                                {"!", NodeKind::logical_not},
                                                                {"-", NodeKind::negate}};
    for (const auto& [token, kind] : kUnary) {
      if (!is(token)) continue;
      const std::size_t column = tokens_[at_++].column;
      Result<NodePtr> operand = unary();
      if (!operand) return operand;
      return make(kind, column, std::move(*operand));
    }
    if (is("(")) {
      const std::size_t start = at_;
      Result<NodePtr> cast = try_cast();
      if (!cast || *cast) return cast;
      at_ = start;
    }
    return postfix();
  }

  /// `(T)x`; null when the parenthesis holds an expression and not a type.
  Result<NodePtr> try_cast() {
    const std::size_t column = tokens_[at_++].column;
    std::optional<TypeName> type = type_name();
    if (!type || !accept(")")) return NodePtr{};
    // `(name)` is a cast when an operand follows that no binary operator could begin.
    const bool certain = type->structure || type->pointers > 0 || is_integer_word_;
    const Token& next = peek();
    const bool operand =
        next.kind == TokenKind::name || next.kind == TokenKind::number || is("(") || is("@");
    if (!certain && !operand) return NodePtr{};
    Result<NodePtr> value = unary();
    if (!value) return value;
    NodePtr node = make(NodeKind::cast, column, std::move(*value));
    node->type = std::move(*type);
    return node;
  }

  /// `struct T **`, `T *` or C integer words; sets is_integer_word_.
  std::optional<TypeName> type_name() {
    is_integer_word_ = false;
    if (peek().kind != TokenKind::name) return std::nullopt;
    TypeName type;
    if (peek().text == "struct" || peek().text == "union") {
      type.structure = true;
      ++at_;
      if (peek().kind != TokenKind::name) return std::nullopt;
      type.name = tokens_[at_++].text;
    } else {
      while (is_integer_word(peek())) {
        is_integer_word_ = true;
        type.name += (type.name.empty() ? "" : " ") + tokens_[at_++].text;
      }
      if (!is_integer_word_) type.name = tokens_[at_++].text;
    }
    while (accept("*")) ++type.pointers;
    return type;
  }

  static bool is_integer_word(const Token& token) {
    if (token.kind != TokenKind::name) return false;
    for (const std::string_view word : kIntegerWords)
      if (token.text == word) return true;
    return false;
  }

  Result<NodePtr> postfix() {
    Result<NodePtr> node = primary();
    int chain = 0;
    while (node) {
      const std::size_t column = peek().column;
      if (is("->") || is(".")) {
        const NodeKind kind = is("->") ? NodeKind::arrow : NodeKind::member;
        ++at_;
        if (peek().kind != TokenKind::name) return error("expected a member name");
        node = make(kind, peek().column, std::move(*node));
        (*node)->text = tokens_[at_++].text;
      } else if (accept("[")) {
        Result<NodePtr> index = binary(1);
        if (!index) return index;
        if (!accept("]")) return error("expected ]");
        node = make(NodeKind::index, column, std::move(*node), std::move(*index));
      } else {
        return node;
      }
      if (++chain > kMaxExpressionDepth) return error("too many members");
    }
    return node;
  }

  Result<NodePtr> primary() {
    const Token& token = peek();
    if (token.kind == TokenKind::number) {
      NodePtr node = make(NodeKind::number, token.column);
      node->number = tokens_[at_++].number;
      return node;
    }
    if (token.kind == TokenKind::name) {
      if (token.text == "container_of" && is("(", 1)) return container_of();
      if (token.text == "str" && is("(", 1)) return string_match();
      NodePtr node = make(NodeKind::name, token.column);
      node->text = tokens_[at_++].text;
      return node;
    }
    if (accept("@")) {
      // Names that are no C names (`foo.cold`) are written in quotes.
      if (peek().kind != TokenKind::name && peek().kind != TokenKind::string)
        return error("expected a kernel symbol");
      NodePtr node = make(NodeKind::symbol, peek().column);
      node->text = tokens_[at_++].text;
      return node;
    }
    if (accept("(")) {
      Result<NodePtr> inside = binary(1);
      if (inside && !accept(")")) return error("expected )");
      return inside;
    }
    return error(token.kind == TokenKind::end ? "expected a value before the end"
                                              : "expected a value");
  }

  Result<NodePtr> container_of() {
    const std::size_t column = peek().column;
    at_ += 2;
    Result<NodePtr> pointer = binary(1);
    if (!pointer) return pointer;
    if (!accept(",")) return error("expected , and a struct type");
    const std::optional<TypeName> type = type_name();
    if (!type || !type->structure || type->pointers != 0) return error("expected struct T");
    if (!accept(",")) return error("expected , and a member name");
    NodePtr node = make(NodeKind::container_of, column, std::move(*pointer));
    node->type = *type;
    do {
      if (peek().kind != TokenKind::name) return error("expected a member name");
      node->text += (node->text.empty() ? "" : ".") + tokens_[at_++].text;
    } while (accept("."));
    if (!accept(")")) return error("expected )");
    return node;
  }

  /// `str(x) == "text"`, `str(x) ~ "glob*"` and their negations.
  Result<NodePtr> string_match() {
    const std::size_t column = peek().column;
    at_ += 2;
    Result<NodePtr> pointer = binary(1);
    if (!pointer) return pointer;
    if (!accept(")")) return error("expected )");
    const bool negated = is("!=") || is("!~");
    const bool glob = is("~") || is("!~");
    if (!negated && !glob && !is("==")) return error("expected ==, !=, ~ or !~ after str()");
    ++at_;
    if (peek().kind != TokenKind::string) return error("expected a string in quotes");
    NodePtr node = make(negated ? NodeKind::string_not_match : NodeKind::string_match, column,
                        std::move(*pointer));
    node->pattern = {.kind = glob ? capture::PatternKind::glob : capture::PatternKind::equal,
                     .text = tokens_[at_++].text};
    return node;
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool is_integer_word_ = false;
};

}  // namespace

Result<std::unique_ptr<Node>> parse_expression(std::string_view text) {
  Result<std::vector<Token>> tokens = tokenize(text);
  if (!tokens) return std::unexpected(tokens.error());
  return Parser{text, std::move(*tokens)}.run();
}

std::unexpected<Error> expression_error(std::string_view expression, std::size_t column,
                                        std::string message) {
  return fail(ErrorCode::invalid_argument, "in `{}`, column {}: {}", expression, column, message);
}

}  // namespace glasshook::hook
