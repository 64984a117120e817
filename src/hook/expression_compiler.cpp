#include "hook/expression_compiler.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <utility>

#include "api/nearest.h"

namespace glasshook::hook {
namespace {

using capture::Op;
using capture::Reg;
using capture::Space;

constexpr ValueType kWord = {};

bool is_word_size(std::uint64_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

bool fits_offset(std::int64_t value) {
  return value >= std::numeric_limits<std::int32_t>::min() &&
         value <= std::numeric_limits<std::int32_t>::max();
}

/// "; did you mean a or b?", or nothing.
std::string hint(const std::vector<std::string>& names, std::string_view wanted) {
  const std::string near = api::did_you_mean(wanted, names);
  return near.empty() ? near : "; " + near;
}

/// The nearest argument names, or else all of them.
std::string argument_hint(const Scope& scope, std::string_view name) {
  std::vector<std::string> names;
  for (const Argument& argument : scope.arguments)
    if (!argument.name.empty()) names.push_back(argument.name);
  if (names.empty()) return "";
  const std::string near = hint(names, name);
  return near.empty() ? fmt::format("; the arguments are {}", fmt::join(names, ", ")) : near;
}

void collect_needs(const Node& node, const Scope& scope, Needs& needs) {
  switch (node.kind) {
    case NodeKind::name:
      if (const auto index = scope.find_argument(node.text)) needs.arguments.insert(*index);
      // An argument may be called `ret`; it hides the result.
      else if (node.text == "ret")
        needs.result = true;
      else if (node.text == "current")
        needs.current = true;
      break;
    case NodeKind::arrow:
    case NodeKind::member:
    case NodeKind::index:
    case NodeKind::dereference:
    case NodeKind::string_match:
    case NodeKind::string_not_match:
      needs.memory = true;
      break;
    default:
      break;
  }
  if (node.left) collect_needs(*node.left, scope, needs);
  if (node.right) collect_needs(*node.right, scope, needs);
}

std::uint64_t apply(NodeKind kind, std::uint64_t left, std::uint64_t right) {
  switch (kind) {
    case NodeKind::add:
      return left + right;
    case NodeKind::subtract:
      return left - right;
    case NodeKind::bit_and:
      return left & right;
    case NodeKind::bit_or:
      return left | right;
    case NodeKind::shift_left:
      return right < 64 ? left << right : 0;
    default:
      return right < 64 ? left >> right : 0;
  }
}

Op operation(NodeKind kind) {
  switch (kind) {
    case NodeKind::add:
      return Op::add;
    case NodeKind::subtract:
      return Op::sub;
    case NodeKind::bit_and:
      return Op::bit_and;
    case NodeKind::bit_or:
      return Op::bit_or;
    case NodeKind::shift_left:
      return Op::shift_left;
    default:
      return Op::shift_right;
  }
}

}  // namespace

std::optional<std::size_t> Scope::find_argument(std::string_view name) const {
  for (std::size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].name == name) return i;
  if (!name.starts_with("arg") || name.size() < 4) return std::nullopt;
  std::size_t index = 0;
  const auto [stop, error] = std::from_chars(name.data() + 3, name.data() + name.size(), index);
  if (error != std::errc{} || stop != name.data() + name.size() || index >= arguments.size())
    return std::nullopt;
  return index;
}

Result<Needs> expression_needs(const Scope& scope, std::string_view expression) {
  const auto tree = parse_expression(expression);
  if (!tree) return std::unexpected(tree.error());
  Needs needs;
  collect_needs(**tree, scope, needs);
  return needs;
}

Result<std::unique_ptr<Node>> ExpressionCompiler::parse(std::string_view expression) {
  text_ = expression;
  may_fault_ = false;
  return parse_expression(expression);
}

Result<ValueType> ExpressionCompiler::word(std::string_view expression, Reg into) {
  const auto tree = parse(expression);
  if (!tree) return std::unexpected(tree.error());
  Result<Value> value = evaluate(**tree, into.number);
  if (!value) return std::unexpected(value.error());
  *value = decay(*value);
  if (auto loaded = load(**tree, *value, into); !loaded) return std::unexpected(loaded.error());
  return value->type;
}

Result<ValueType> ExpressionCompiler::address(std::string_view expression, Reg into) {
  const auto tree = parse(expression);
  if (!tree) return std::unexpected(tree.error());
  Result<Value> value = evaluate(**tree, into.number);
  if (!value) return std::unexpected(value.error());
  const TypeSystem& types = scope_.types;
  const bool place = value->kind == Value::Kind::memory && value->bits == 0 &&
                     (types.is_struct(value->type) || types.array_element(value->type));
  ValueType there = value->type;
  if (place) {
    value->kind = Value::Kind::reg;
    value->type = there.pointer_to();
  } else {
    // A plain integer serves as the address of bytes nobody described.
    there = types.pointee(value->type).value_or(ValueType::integer(0, false));
  }
  if (auto loaded = load(**tree, *value, into); !loaded) return std::unexpected(loaded.error());
  return there;
}

Result<> ExpressionCompiler::jump_unless(std::string_view condition, capture::Label target) {
  const auto tree = parse(condition);
  if (!tree) return std::unexpected(tree.error());
  return branch(**tree, target, false, 0);
}

Result<std::uint8_t> ExpressionCompiler::next(const Node& node, std::uint8_t at) const {
  if (at >= kLastExpressionRegister) return error(node, "too many values at once");
  return static_cast<std::uint8_t>(at + 1);
}

Result<ExpressionCompiler::Value> ExpressionCompiler::evaluate(const Node& node, std::uint8_t at) {
  switch (node.kind) {
    case NodeKind::number:
      return Value{.type = ValueType::integer(8, true), .constant = node.number, .base = {}};
    case NodeKind::name:
      return name(node, at);
    case NodeKind::symbol:
      return symbol(node);
    case NodeKind::member:
    case NodeKind::arrow:
      return member(node, at);
    case NodeKind::index:
      return index(node, at);
    case NodeKind::cast:
      return cast(node, at);
    case NodeKind::address_of:
    case NodeKind::dereference:
    case NodeKind::negate:
      return unary(node, at);
    case NodeKind::container_of:
      return container_of(node, at);
    case NodeKind::add:
    case NodeKind::subtract:
    case NodeKind::bit_and:
    case NodeKind::bit_or:
    case NodeKind::shift_left:
    case NodeKind::shift_right:
      return arithmetic(node, at);
    case NodeKind::string_match:
    case NodeKind::string_not_match:
      return string_match(node, at);
    case NodeKind::alternative:
      return alternative(node, at);
    default:
      return truth(node, at);
  }
}

Result<ExpressionCompiler::Value> ExpressionCompiler::name(const Node& node, std::uint8_t at) {
  if (const auto index = scope_.find_argument(node.text))
    return argument(node, scope_.arguments[*index], Reg{at});
  if (node.text == "ret") {
    if (!scope_.result) return error(node, "`ret` is known at the return only");
    if (scope_.types.size(*scope_.result) == 0) return error(node, "the function returns nothing");
    builder_.load_cpu(Reg{at}, capture::CpuRegister::rax);
    const ValueType type = *scope_.result;
    if (!scope_.types.is_struct(type))
      narrow(Reg{at}, scope_.types.size(type), scope_.types.is_signed(type));
    return Value{.kind = Value::Kind::reg, .type = type, .base = Reg{at}};
  }
  if (node.text == "operand" && scope_.has_operand) {
    builder_.load_cpu(Reg{at}, capture::CpuRegister::operand);
    return Value{.kind = Value::Kind::reg, .type = kWord, .base = Reg{at}};
  }
  const linux_guest::KernelTypes* types = scope_.types.kernel_types();
  if (node.text == "current") {
    const auto task = types ? types->find_struct("task_struct") : std::nullopt;
    const ValueType type = task ? ValueType::of(*task, 1) : kWord;
    return Value{.kind = Value::Kind::reg, .type = type, .base = scope_.current};
  }
  if (const auto enumerator = types ? types->find_enumerator(node.text) : std::nullopt)
    return Value{.type = ValueType::integer(8, true),
                 .constant = static_cast<std::uint64_t>(*enumerator),
                 .base = {}};
  return error(node, fmt::format("there is no argument or enumerator `{}`{}", node.text,
                                 argument_hint(scope_, node.text)));
}

Result<ExpressionCompiler::Value> ExpressionCompiler::argument(const Node& node,
                                                               const Argument& argument, Reg at) {
  switch (argument.place) {
    case Argument::Place::cpu:
      builder_.load_cpu(at, argument.cpu);
      break;
    case Argument::Place::stack:
      builder_.load_cpu(at, capture::CpuRegister::rsp);
      if (scope_.types.is_struct(argument.type))
        return Value{.kind = Value::Kind::memory,
                     .type = argument.type,
                     .base = at,
                     .addend = argument.offset};
      may_fault_ = true;
      builder_.load_memory(at, at, argument.offset, 8, Space::current);
      break;
    case Argument::Place::slot:
      builder_.load_saved(at, argument.slot);
      break;
    case Argument::Place::none:
      return error(node, fmt::format("argument `{}` cannot be read here", node.text));
  }
  if (!scope_.types.is_struct(argument.type))
    narrow(at, scope_.types.size(argument.type), scope_.types.is_signed(argument.type));
  return Value{.kind = Value::Kind::reg, .type = argument.type, .base = at};
}

Result<ExpressionCompiler::Value> ExpressionCompiler::symbol(const Node& node) const {
  const auto found = scope_.symbols ? scope_.symbols->find(node.text) : std::nullopt;
  if (found)
    return Value{.type = ValueType::integer(0, false).pointer_to(),
                 .constant = found->address.value,
                 .base = {}};
  const std::string near =
      scope_.symbols ? hint(scope_.symbols->nearest(node.text, 3), node.text) : "";
  return error(node, fmt::format("the kernel has no symbol `{}`{}", node.text, near));
}

Result<ExpressionCompiler::Value> ExpressionCompiler::pointer(const Node& node, std::uint8_t at) {
  Result<Value> value = evaluate(node, at);
  if (!value) return value;
  *value = decay(*value);
  if (!scope_.types.pointee(value->type))
    return error(node, fmt::format("{} is not a pointer", scope_.types.spelling(value->type)));
  if (value->kind == Value::Kind::reg && value->bits == 0) return value;
  if (auto loaded = load(node, *value, Reg{at}); !loaded) return std::unexpected(loaded.error());
  return Value{.kind = Value::Kind::reg, .type = value->type, .base = Reg{at}};
}

Result<ExpressionCompiler::Value> ExpressionCompiler::member(const Node& node, std::uint8_t at) {
  if (node.kind == NodeKind::member) {
    Result<Value> value = evaluate(*node.left, at);
    if (!value) return value;
    if (!scope_.types.is_struct(value->type))
      return error(node, fmt::format("{} has no members{}", scope_.types.spelling(value->type),
                                     scope_.types.pointee(value->type) ? "; use ->" : ""));
    return select(node, *value);
  }
  Result<Value> value = pointer(*node.left, at);
  if (!value) return value;
  value->type = *scope_.types.pointee(value->type);
  value->kind = Value::Kind::memory;
  if (!scope_.types.is_struct(value->type))
    return error(node, fmt::format("{} has no members; cast it to (struct T *)",
                                   scope_.types.spelling(value->type)));
  return select(node, *value);
}

Result<ExpressionCompiler::Value> ExpressionCompiler::select(const Node& node, Value structure) {
  const linux_guest::KernelTypes& types = *scope_.types.kernel_types();
  const linux_guest::TypeId id = types.resolve(structure.type.btf);
  const auto found = types.member(id, node.text);
  if (!found)
    return error(node, fmt::format("{} has no member `{}`{}", scope_.types.spelling(structure.type),
                                   node.text, hint(types.member_names(id), node.text)));
  Value value = structure;
  value.type = ValueType::of(found->type);
  if (value.kind == Value::Kind::memory) {
    value.addend += found->offset();
    value.shift = found->bit_size != 0 ? found->bit_offset % 8 : 0;
    value.bits = found->bit_size;
  } else {  // a small struct passed in a register
    value.shift += found->bit_offset;
    value.bits = found->bit_size != 0
                     ? found->bit_size
                     : static_cast<std::uint32_t>(8 * scope_.types.size(value.type));
    if (value.bits == 0 || value.shift + value.bits > 64)
      return error(node, "this member does not lie in the register");
  }
  return value;
}

Result<ExpressionCompiler::Value> ExpressionCompiler::index(const Node& node, std::uint8_t at) {
  Result<Value> array = evaluate(*node.left, at);
  if (!array) return array;
  const std::uint32_t length = scope_.types.array_length(array->type);
  Result<Value> base = decay(*array);
  if (base->kind != Value::Kind::reg || base->bits != 0) {
    if (auto loaded = load(*node.left, *base, Reg{at}); !loaded)
      return std::unexpected(loaded.error());
    base = Value{.kind = Value::Kind::reg, .type = base->type, .base = Reg{at}};
  }
  const auto element = scope_.types.pointee(base->type);
  if (!element || scope_.types.size(*element) == 0)
    return error(node, fmt::format("{} has no elements", scope_.types.spelling(array->type)));

  const Result<std::uint8_t> second = next(node, at);
  if (!second) return std::unexpected(second.error());
  Result<Value> position = evaluate(*node.right, *second);
  if (!position) return position;
  const std::uint64_t size = scope_.types.size(*element);
  Value value = *base;
  value.kind = Value::Kind::memory;
  value.type = *element;
  if (position->kind == Value::Kind::constant) {
    if (length != 0 && position->constant >= length)
      return error(node, fmt::format("the array has {} elements", length));
    value.addend += static_cast<std::int64_t>(position->constant * size);
    return value;
  }
  if (auto loaded = load(*node.right, *position, Reg{*second}); !loaded)
    return std::unexpected(loaded.error());
  builder_.alu(Op::multiply, Reg{*second}, size);
  if (value.base != Reg{at}) builder_.move(Reg{at}, value.base);
  builder_.alu(Op::add, Reg{at}, Reg{*second});
  value.base = Reg{at};
  return value;
}

Result<ExpressionCompiler::Value> ExpressionCompiler::cast(const Node& node, std::uint8_t at) {
  const auto type = scope_.types.find(node.type);
  if (!type)
    return error(node, fmt::format("there is no type `{}{}`", node.type.structure ? "struct " : "",
                                   node.type.name));
  if (scope_.types.is_struct(*type)) return error(node, "a cast to a struct needs a *");
  Result<Value> value = evaluate(*node.left, at);
  if (!value) return value;
  *value = decay(*value);
  const std::uint64_t size = scope_.types.size(*type);
  if (!is_word_size(size)) return error(node, "cannot cast to this type");
  if (value->kind == Value::Kind::memory || value->bits != 0 || size < 8) {
    if (auto loaded = load(*node.left, *value, Reg{at}); !loaded)
      return std::unexpected(loaded.error());
    *value = Value{.kind = Value::Kind::reg, .type = *type, .base = Reg{at}};
    narrow(Reg{at}, size, scope_.types.is_signed(*type));
  }
  value->type = *type;
  return value;
}

Result<ExpressionCompiler::Value> ExpressionCompiler::unary(const Node& node, std::uint8_t at) {
  if (node.kind == NodeKind::dereference) {
    Result<Value> value = pointer(*node.left, at);
    if (!value) return value;
    value->type = *scope_.types.pointee(value->type);
    if (scope_.types.size(value->type) == 0)
      return error(node, "cannot read what this points to; cast it first");
    value->kind = Value::Kind::memory;
    return value;
  }
  Result<Value> value = evaluate(*node.left, at);
  if (!value) return value;
  if (node.kind == NodeKind::address_of) {
    if (value->kind != Value::Kind::memory || value->bits != 0)
      return error(node, "this has no address");
    value->kind = Value::Kind::reg;
    value->type = value->type.pointer_to();
    return value;
  }
  const ValueType type = ValueType::integer(8, true);
  if (value->kind == Value::Kind::constant)
    return Value{.type = type, .constant = 0 - value->constant, .base = {}};
  if (auto loaded = load(*node.left, *value, Reg{at}); !loaded)
    return std::unexpected(loaded.error());
  builder_.alu(Op::bit_xor, Reg{at}, ~std::uint64_t{0}).alu(Op::add, Reg{at}, std::uint64_t{1});
  return Value{.kind = Value::Kind::reg, .type = type, .base = Reg{at}};
}

Result<ExpressionCompiler::Value> ExpressionCompiler::container_of(const Node& node,
                                                                   std::uint8_t at) {
  const auto type = scope_.types.find(node.type);
  if (!type) return error(node, fmt::format("there is no struct `{}`", node.type.name));
  const Result<std::uint32_t> offset =
      scope_.types.kernel_types()->offset(node.type.name, node.text);
  if (!offset) return error(node, offset.error().message);
  Result<Value> value = pointer(*node.left, at);
  if (!value) return value;
  value->addend -= *offset;
  value->type = type->pointer_to();
  return value;
}

Result<ExpressionCompiler::Value> ExpressionCompiler::arithmetic(const Node& node,
                                                                 std::uint8_t at) {
  Result<Value> left = evaluate(*node.left, at);
  if (!left) return left;
  *left = decay(*left);
  const bool additive = node.kind == NodeKind::add || node.kind == NodeKind::subtract;
  const auto element = additive ? scope_.types.pointee(left->type) : std::nullopt;
  const std::uint64_t scale = element ? std::max<std::uint64_t>(scope_.types.size(*element), 1) : 1;
  if (left->kind != Value::Kind::constant) {
    if (auto loaded = load(*node.left, *left, Reg{at}); !loaded)
      return std::unexpected(loaded.error());
  }
  const Result<std::uint8_t> second = next(node, at);
  if (!second) return std::unexpected(second.error());
  Result<Value> right = evaluate(*node.right, *second);
  if (!right) return right;
  *right = decay(*right);

  const bool neutral = right->kind == Value::Kind::constant;
  const bool is_signed =
      scope_.types.is_signed(left->type) && (neutral || scope_.types.is_signed(right->type));
  const ValueType type = element ? left->type : ValueType::integer(8, is_signed);
  if (left->kind == Value::Kind::constant && neutral)
    return Value{.type = type,
                 .constant = apply(node.kind, left->constant, right->constant * scale),
                 .base = {}};
  if (left->kind == Value::Kind::constant) builder_.move(Reg{at}, left->constant);
  if (neutral) {
    builder_.alu(operation(node.kind), Reg{at}, right->constant * scale);
  } else {
    if (auto loaded = load(*node.right, *right, Reg{*second}); !loaded)
      return std::unexpected(loaded.error());
    if (scale != 1) builder_.alu(Op::multiply, Reg{*second}, scale);
    builder_.alu(operation(node.kind), Reg{at}, Reg{*second});
  }
  return Value{.kind = Value::Kind::reg, .type = type, .base = Reg{at}};
}

Result<ExpressionCompiler::Value> ExpressionCompiler::alternative(const Node& node,
                                                                  std::uint8_t at) {
  const capture::Builder before = builder_;
  Result<Value> value = evaluate(*node.left, at);
  if (value) return value;
  builder_ = before;
  return evaluate(*node.right, at);
}

ExpressionCompiler::Value ExpressionCompiler::decay(Value value) const {
  const auto element = scope_.types.array_element(value.type);
  if (!element || value.kind != Value::Kind::memory) return value;
  value.kind = Value::Kind::reg;
  value.type = element->pointer_to();
  return value;
}

Reg ExpressionCompiler::fold_addend(Value& value, Reg into) {
  if (fits_offset(value.addend)) return value.base;
  if (value.base != into) builder_.move(into, value.base);
  builder_.alu(Op::add, into, static_cast<std::uint64_t>(value.addend));
  value.addend = 0;
  return into;
}

Result<> ExpressionCompiler::load(const Node& node, const Value& given, Reg into) {
  if (given.bits != 0) return load_bits(node, given, into);
  Value value = given;
  switch (value.kind) {
    case Value::Kind::constant:
      builder_.move(into, value.constant);
      return {};
    case Value::Kind::reg:
      if (scope_.types.is_struct(value.type) && scope_.types.size(value.type) > 8)
        return error(node, "this struct is not one word; name a member");
      if (value.base != into) builder_.move(into, value.base);
      if (value.addend != 0) builder_.alu(Op::add, into, static_cast<std::uint64_t>(value.addend));
      return {};
    case Value::Kind::memory:
      break;
  }
  const std::uint64_t size = scope_.types.size(value.type);
  if (!is_word_size(size))
    return error(node, fmt::format("{} ({} bytes) is not one word; name a member",
                                   scope_.types.spelling(value.type), size));
  const Reg base = fold_addend(value, into);
  may_fault_ = true;
  builder_.load_memory(into, base, static_cast<std::int32_t>(value.addend),
                       static_cast<std::uint8_t>(size), Space::kernel);
  if (scope_.types.is_signed(value.type) && size < 8)
    builder_.sign_extend(into, static_cast<std::uint8_t>(size));
  return {};
}

Result<> ExpressionCompiler::load_bits(const Node& node, const Value& given, Reg into) {
  Value value = given;
  const std::uint32_t span = value.shift + value.bits;
  if (span > 64) return error(node, "the bit field lies across two words");
  if (value.kind == Value::Kind::memory) {
    const std::uint8_t size = span <= 8 ? 1 : span <= 16 ? 2 : span <= 32 ? 4 : 8;
    const Reg base = fold_addend(value, into);
    may_fault_ = true;
    builder_.load_memory(into, base, static_cast<std::int32_t>(value.addend), size, Space::kernel);
  } else if (value.base != into) {
    builder_.move(into, value.base);
  }
  if (value.shift != 0) builder_.alu(Op::shift_right, into, std::uint64_t{value.shift});
  if (value.bits >= 64) return {};
  builder_.alu(Op::bit_and, into, (std::uint64_t{1} << value.bits) - 1);
  if (scope_.types.is_signed(value.type)) {
    const std::uint64_t sign = std::uint64_t{1} << (value.bits - 1);
    builder_.alu(Op::bit_xor, into, sign).alu(Op::sub, into, sign);
  }
  return {};
}

void ExpressionCompiler::narrow(Reg reg, std::uint64_t size, bool is_signed) {
  if (size == 0 || size >= 8) return;
  if (is_signed)
    builder_.sign_extend(reg, static_cast<std::uint8_t>(size));
  else
    builder_.alu(Op::bit_and, reg, (std::uint64_t{1} << (8 * size)) - 1);
}

}  // namespace glasshook::hook
