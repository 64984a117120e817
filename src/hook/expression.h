// The capture expression language: text to a syntax tree. docs/hooks.md tells what it means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "capture/program.h"

namespace glasshook::hook {

inline constexpr std::size_t kMaxExpressionLength = 1024;
/// Operators and parentheses inside each other, at most.
inline constexpr int kMaxExpressionDepth = 32;

/// A type as it is written in a cast: `struct file *`, `u32`, `unsigned long`.
struct TypeName {
  bool structure = false;  ///< written with `struct` or `union`
  std::string name;
  int pointers = 0;  ///< number of `*`
};

enum class NodeKind : std::uint8_t {
  name,    ///< `text`
  number,  ///< `number`
  symbol,  ///< `@text`
  member,  ///< `left.text`
  arrow,   ///< `left->text`
  index,   ///< `left[right]`
  cast,    ///< `(type)left`
  address_of,
  dereference,
  logical_not,
  negate,
  container_of,  ///< container_of(left, type, text)
  add,
  subtract,
  bit_and,
  bit_or,
  shift_left,
  shift_right,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  string_match,      ///< str(left) == or ~ the pattern
  string_not_match,  ///< str(left) != or !~ the pattern
  alternative,       ///< left where it compiles, else right
};

struct Node {
  NodeKind kind = NodeKind::number;
  std::size_t column = 1;  ///< where it begins in the text, from 1
  std::string text;
  std::uint64_t number = 0;
  TypeName type;
  capture::Pattern pattern;  ///< of string_match
  std::unique_ptr<Node> left;
  std::unique_ptr<Node> right;
};

/// Parses one expression. Errors name the column.
[[nodiscard]] Result<std::unique_ptr<Node>> parse_expression(std::string_view text);

/// The failure every stage of the compiler gives for a place in an expression.
[[nodiscard]] std::unexpected<Error> expression_error(std::string_view expression,
                                                      std::size_t column, std::string message);

}  // namespace glasshook::hook
