#include "hook/word_group.h"

#include <algorithm>

#include "hook/expression_compiler.h"

namespace glasshook::hook {
namespace {

using capture::Instruction;
using capture::Op;

constexpr std::size_t kRegisters = kLastExpressionRegister + 1;

/// Starts a word: nothing of the group goes into it.
bool is_source(const Instruction& in) { return in.op == Op::load_cpu || in.op == Op::load_saved; }

bool is_first_load(const Instruction& in) {
  return in.op == Op::load_memory && in.src > kLastExpressionRegister;
}

bool is_next_load(const Instruction& in) {
  return in.op == Op::load_memory && in.dst == 0 && in.src == 0;
}

/// Changes r0 and looks at nothing else.
bool is_finish(const Instruction& in) {
  if (in.dst != 0) return false;
  if (in.op == Op::sign_extend) return true;
  return in.op >= Op::add && in.op <= Op::multiply && in.src == capture::kImmediate;
}

}  // namespace

std::size_t WordGroup::find_or_add(std::vector<Value>& values, const Value& value) {
  const auto same = [&](const Value& other) {
    return other.made == value.made && other.from == value.from;
  };
  const auto found = std::ranges::find_if(values, same);
  const auto place = static_cast<std::size_t>(found - values.begin());
  if (found == values.end()) values.push_back(value);
  return place;
}

bool WordGroup::add(std::span<const Instruction> code) {
  if (code.empty() || code[0].dst != 0 || !(is_source(code[0]) || is_first_load(code[0])))
    return false;
  std::vector<Value> values = values_;
  Word word{.value = find_or_add(values, {.made = code[0], .from = std::nullopt}), .finish = {}};
  std::size_t at = 1;
  for (; at < code.size() && is_next_load(code[at]); ++at)
    word.value = find_or_add(values, {.made = code[at], .from = word.value});
  for (; at < code.size() && is_finish(code[at]); ++at) word.finish.push_back(code[at]);
  const auto is_taken = [&](const Word& other) { return other.value == word.value; };
  if (at < code.size() || std::ranges::any_of(words_, is_taken)) return false;

  std::vector<Word> words = words_;
  words.push_back(std::move(word));
  // What is finished is no pointer any more.
  for (const Word& one : words)
    for (const Value& value : values)
      if (!one.finish.empty() && value.from == one.value) return false;
  if (values.size() > kRegisters) return false;
  values_ = std::move(values);
  words_ = std::move(words);
  return true;
}

bool WordGroup::may_fault() const {
  return std::ranges::any_of(values_,
                             [](const Value& value) { return value.made.op == Op::load_memory; });
}

/// Pointers before what they lead to, and side by side what one of them leads to.
std::vector<std::size_t> WordGroup::in_order() const {
  std::vector<std::size_t> order;
  const auto add_those_from = [&](std::optional<std::size_t> from) {
    for (std::size_t i = 0; i < values_.size(); ++i)
      if (values_[i].from == from) order.push_back(i);
  };
  add_those_from(std::nullopt);
  for (std::size_t done = 0; done < order.size(); ++done) add_those_from(order[done]);
  return order;
}

/// Words have the first ones, in their order.
std::vector<std::uint8_t> WordGroup::registers() const {
  std::vector<std::uint8_t> found(values_.size());
  auto free = static_cast<std::uint8_t>(words_.size());
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const auto word = std::ranges::find(words_, i, &Word::value);
    found[i] = word == words_.end() ? free++ : static_cast<std::uint8_t>(word - words_.begin());
  }
  return found;
}

void WordGroup::emit(capture::Builder& builder) const {
  const std::vector<std::uint8_t> registers = this->registers();
  for (const std::size_t i : in_order()) {
    Instruction in = values_[i].made;
    in.dst = registers[i];
    if (values_[i].from) in.src = registers[*values_[i].from];
    builder.append(in);
  }
  for (std::size_t word = 0; word < words_.size(); ++word)
    for (Instruction in : words_[word].finish) {
      in.dst = static_cast<std::uint8_t>(word);
      builder.append(in);
    }
}

}  // namespace glasshook::hook
