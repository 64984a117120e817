// From expressions to capture program code.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "capture/builder.h"
#include "guest/linux/symbols.h"
#include "hook/expression.h"
#include "hook/value_type.h"

namespace glasshook::hook {

/// Expressions are computed in r0 up to this register; those above belong to the program around
/// them.
inline constexpr std::uint8_t kLastExpressionRegister = 7;

/// An argument of the hooked function and where the program finds it.
struct Argument {
  enum class Place : std::uint8_t {
    cpu,    ///< processor register `cpu`
    stack,  ///< `offset` bytes above the stack pointer at entry
    slot,   ///< saved slot `slot`
    none    ///< out of reach (not saved)
  };
  std::string name;
  ValueType type;
  Place place = Place::none;
  capture::CpuRegister cpu = capture::CpuRegister::rdi;
  std::int32_t offset = 0;
  std::uint8_t slot = 0;
};

/// What the names in an expression stand for.
struct Scope {
  TypeSystem types{nullptr};
  const linux_guest::KernelSymbols* symbols = nullptr;  ///< for `@symbol`; may be null
  std::vector<Argument> arguments;
  std::optional<ValueType> result;  ///< type of `ret`; empty at entry, where there is none
  bool has_operand = false;         ///< `operand` is known: at a privileged instruction
  capture::Reg current;             ///< register that holds the task
  /// Space of strings: user pointers are valid in it.
  capture::Space string_space = capture::Space::current;

  /// Index of the argument called `name` (or `arg0`, `arg1`, ...).
  [[nodiscard]] std::optional<std::size_t> find_argument(std::string_view name) const;
};

/// What an expression needs.
struct Needs {
  std::set<std::size_t> arguments;  ///< indices into Scope::arguments
  bool result = false;
  bool current = false;  ///< the running task
  bool memory = false;   ///< it reads guest memory
};
[[nodiscard]] Result<Needs> expression_needs(const Scope& scope, std::string_view expression);

/// Appends code for expressions to a program. Reads of unmapped memory give 0 and set the fault
/// flag.
class ExpressionCompiler {
 public:
  ExpressionCompiler(capture::Builder& builder, const Scope& scope)
      : builder_(builder), scope_(scope) {}

  /// The value as one word in `into`; structs of 1, 2, 4 and 8 bytes count as integers, arrays as
  /// their address. Its type.
  Result<ValueType> word(std::string_view expression, capture::Reg into);

  /// An address in `into`: the value of a pointer, or where a struct or array lies. The type of
  /// what is there.
  Result<ValueType> address(std::string_view expression, capture::Reg into);

  /// Jumps to `target` when the condition does not hold. Uses the registers from r0.
  Result<> jump_unless(std::string_view condition, capture::Label target);

  /// True when the code of the last expression can set the fault flag.
  [[nodiscard]] bool may_fault() const { return may_fault_; }

 private:
  /// A value on its way: a constant, a register plus `addend`, or memory at register plus
  /// `addend`. With `bits`, only that many bits from `shift` on.
  struct Value {
    enum class Kind : std::uint8_t { constant, reg, memory };
    Kind kind = Kind::constant;
    ValueType type;
    std::uint64_t constant = 0;
    capture::Reg base;
    std::int64_t addend = 0;
    std::uint32_t shift = 0;
    std::uint32_t bits = 0;
  };

  Result<Value> evaluate(const Node& node, std::uint8_t at);
  Result<Value> name(const Node& node, std::uint8_t at);
  Result<Value> argument(const Node& node, const Argument& argument, capture::Reg at);
  Result<Value> symbol(const Node& node) const;
  Result<Value> member(const Node& node, std::uint8_t at);
  Result<Value> select(const Node& node, Value structure);
  Result<Value> index(const Node& node, std::uint8_t at);
  Result<Value> cast(const Node& node, std::uint8_t at);
  Result<Value> unary(const Node& node, std::uint8_t at);
  Result<Value> container_of(const Node& node, std::uint8_t at);
  Result<Value> arithmetic(const Node& node, std::uint8_t at);
  Result<Value> string_match(const Node& node, std::uint8_t at);
  Result<Value> truth(const Node& node, std::uint8_t at);
  /// `a ?? b`: undoes what `a` emitted when it does not compile.
  Result<Value> alternative(const Node& node, std::uint8_t at);

  /// Jumps to `target` when the truth of `node` is `when`.
  Result<> branch(const Node& node, capture::Label target, bool when, std::uint8_t at);
  Result<> compare(const Node& node, capture::Label target, bool when, std::uint8_t at);
  [[nodiscard]] bool compares_signed(const Value& left, const Value& right) const;

  /// An array becomes a pointer to its first element.
  [[nodiscard]] Value decay(Value value) const;
  /// A pointer as register plus addend, not yet followed.
  Result<Value> pointer(const Node& node, std::uint8_t at);
  /// Loads the value as a word into `into`.
  Result<> load(const Node& node, const Value& value, capture::Reg into);
  Result<> load_bits(const Node& node, const Value& value, capture::Reg into);
  /// An offset that fits an instruction: folds what does not into `into`.
  capture::Reg fold_addend(Value& value, capture::Reg into);
  void narrow(capture::Reg reg, std::uint64_t size, bool is_signed);

  [[nodiscard]] Result<std::uint8_t> next(const Node& node, std::uint8_t at) const;
  [[nodiscard]] std::unexpected<Error> error(const Node& node, std::string message) const {
    return expression_error(text_, node.column, std::move(message));
  }
  Result<std::unique_ptr<Node>> parse(std::string_view expression);

  capture::Builder& builder_;
  const Scope& scope_;
  std::string_view text_;  ///< the expression at work
  bool may_fault_ = false;
};

}  // namespace glasshook::hook
