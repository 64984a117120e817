// The part of the expression compiler that decides: comparisons, string matches and branches.
#include "hook/expression_compiler.h"

namespace glasshook::hook {

using capture::Label;
using capture::Op;
using capture::Reg;

Result<ExpressionCompiler::Value> ExpressionCompiler::string_match(const Node& node,
                                                                   std::uint8_t at) {
  Result<Value> value = evaluate(*node.left, at);
  if (!value) return value;
  *value = decay(*value);
  if (auto loaded = load(*node.left, *value, Reg{at}); !loaded)
    return std::unexpected(loaded.error());
  builder_.match_string(Reg{at}, Reg{at}, builder_.pattern(node.pattern.kind, node.pattern.text),
                        scope_.string_space);
  if (node.kind == NodeKind::string_not_match) builder_.alu(Op::bit_xor, Reg{at}, std::uint64_t{1});
  return Value{.kind = Value::Kind::reg, .type = ValueType::integer(1, false), .base = Reg{at}};
}

Result<ExpressionCompiler::Value> ExpressionCompiler::truth(const Node& node, std::uint8_t at) {
  const Label no = builder_.new_label();
  const Label end = builder_.new_label();
  if (auto branched = branch(node, no, false, at); !branched)
    return std::unexpected(branched.error());
  builder_.move(Reg{at}, std::uint64_t{1}).jump(end).bind(no).move(Reg{at}, std::uint64_t{0});
  builder_.bind(end);
  return Value{.kind = Value::Kind::reg, .type = ValueType::integer(1, false), .base = Reg{at}};
}

Result<> ExpressionCompiler::branch(const Node& node, Label target, bool when, std::uint8_t at) {
  switch (node.kind) {
    case NodeKind::logical_not:
      return branch(*node.left, target, !when, at);
    case NodeKind::equal:
    case NodeKind::not_equal:
    case NodeKind::less:
    case NodeKind::less_equal:
    case NodeKind::greater:
    case NodeKind::greater_equal:
      return compare(node, target, when, at);
    default:
      break;
  }
  Result<Value> value = evaluate(node, at);
  if (!value) return std::unexpected(value.error());
  *value = decay(*value);
  if (auto loaded = load(node, *value, Reg{at}); !loaded) return loaded;
  builder_.jump_if(when ? Op::jump_ne : Op::jump_eq, Reg{at}, std::uint64_t{0}, target);
  return {};
}

Result<> ExpressionCompiler::compare(const Node& node, Label target, bool when, std::uint8_t at) {
  const Result<std::uint8_t> second = next(node, at);
  if (!second) return std::unexpected(second.error());
  Result<Value> left = evaluate(*node.left, at);
  if (!left) return std::unexpected(left.error());
  *left = decay(*left);
  if (auto loaded = load(*node.left, *left, Reg{at}); !loaded) return loaded;
  Result<Value> right = evaluate(*node.right, *second);
  if (!right) return std::unexpected(right.error());
  *right = decay(*right);

  struct Comparison {
    NodeKind kind, inverse;
    Op op;         ///< unsigned
    Op signed_op;  ///< after the swap
    bool swap;     ///< signed: right op left
  };
  constexpr Comparison kComparisons[] = {
      {NodeKind::equal, NodeKind::not_equal, Op::jump_eq, Op::jump_eq, false},
      {NodeKind::not_equal, NodeKind::equal, Op::jump_ne, Op::jump_ne, false},
      {NodeKind::less, NodeKind::greater_equal, Op::jump_lt, Op::jump_signed_lt, false},
      {NodeKind::greater_equal, NodeKind::less, Op::jump_ge, Op::jump_signed_ge, false},
      {NodeKind::greater, NodeKind::less_equal, Op::jump_gt, Op::jump_signed_lt, true},
      {NodeKind::less_equal, NodeKind::greater, Op::jump_le, Op::jump_signed_ge, true},
  };
  const bool is_signed = compares_signed(*left, *right);
  for (const Comparison& row : kComparisons) {
    if ((when ? row.kind : row.inverse) != node.kind) continue;
    const bool swap = is_signed && row.swap;
    if (right->kind != Value::Kind::constant || swap)
      if (auto loaded = load(*node.right, *right, Reg{*second}); !loaded) return loaded;
    const capture::Operand operand = right->kind == Value::Kind::constant
                                         ? capture::Operand{right->constant}
                                         : capture::Operand{Reg{*second}};
    if (swap)
      builder_.jump_if(row.signed_op, Reg{*second}, Reg{at}, target);
    else
      builder_.jump_if(is_signed ? row.signed_op : row.op, Reg{at}, operand, target);
  }
  return {};
}

bool ExpressionCompiler::compares_signed(const Value& left, const Value& right) const {
  return scope_.types.is_signed(left.kind == Value::Kind::constant ? right.type : left.type);
}

}  // namespace glasshook::hook
