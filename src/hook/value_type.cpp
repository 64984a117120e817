#include "hook/value_type.h"

#include <fmt/format.h>

#include <utility>

namespace glasshook::hook {
namespace {

/// `unsigned long` and its like, in any order of the words.
std::optional<ValueType> c_integer(std::string_view name) {
  constexpr std::pair<std::string_view, std::pair<std::uint8_t, bool>> kWords[] = {
      {"u8", {1, false}},   {"u16", {2, false}},   {"u32", {4, false}},  {"u64", {8, false}},
      {"s8", {1, true}},    {"s16", {2, true}},    {"s32", {4, true}},   {"s64", {8, true}},
      {"void", {0, false}}, {"_Bool", {1, false}}, {"bool", {1, false}},
  };
  for (const auto& [word, shape] : kWords)
    if (name == word) return ValueType::integer(shape.first, shape.second);

  bool is_signed = true;
  std::uint8_t size = 0;
  while (!name.empty()) {
    const std::string_view word = name.substr(0, name.find(' '));
    name.remove_prefix(std::min(name.size(), word.size() + 1));
    if (word == "unsigned") {
      is_signed = false;
      if (size == 0) size = 4;
    } else if (word == "signed" || word == "int") {
      if (size == 0) size = 4;
    } else if (word == "long") {
      size = 8;
    } else if (word == "short") {
      size = 2;
    } else if (word == "char") {
      size = 1;
    } else {
      return std::nullopt;
    }
  }
  if (size == 0) return std::nullopt;
  return ValueType::integer(size, is_signed);
}

}  // namespace

std::optional<ValueType> TypeSystem::find(const TypeName& name) const {
  std::optional<ValueType> type;
  if (name.structure) {
    if (types_ == nullptr) return std::nullopt;
    if (const auto id = types_->find_struct(name.name)) type = ValueType::of(*id);
  } else {
    type = c_integer(name.name);
    if (!type && types_ != nullptr)
      if (const auto id = types_->find_typedef(name.name)) type = ValueType::of(*id);
  }
  if (type) type->pointers += name.pointers;
  return type;
}

std::optional<ValueType> TypeSystem::pointee(const ValueType& type) const {
  if (type.pointers > 0) {
    ValueType target = type;
    --target.pointers;
    return target;
  }
  if (!type.is_btf) return std::nullopt;
  const auto target = types_->pointee(types_->resolve(type.btf));
  if (!target) return std::nullopt;
  return target->value == 0 ? ValueType::integer(0, false) : ValueType::of(*target);
}

std::optional<ValueType> TypeSystem::array_element(const ValueType& type) const {
  if (!type.is_btf || type.pointers > 0) return std::nullopt;
  const auto element = types_->array_element(types_->resolve(type.btf));
  if (!element) return std::nullopt;
  return ValueType::of(*element);
}

std::uint32_t TypeSystem::array_length(const ValueType& type) const {
  return array_element(type) ? types_->array_length(types_->resolve(type.btf)) : 0;
}

bool TypeSystem::is_struct(const ValueType& type) const {
  return type.is_btf && type.pointers == 0 && types_->is_struct(types_->resolve(type.btf));
}

bool TypeSystem::is_signed(const ValueType& type) const {
  if (type.pointers > 0) return false;
  return type.is_btf ? types_->is_signed_integer(types_->resolve(type.btf)) : type.is_signed;
}

std::uint64_t TypeSystem::size(const ValueType& type) const {
  if (type.pointers > 0) return 8;
  return type.is_btf ? types_->size(types_->resolve(type.btf)) : type.size;
}

bool TypeSystem::is_struct_named(const ValueType& type, std::string_view name) const {
  if (!is_struct(type)) return false;
  const auto wanted = types_->find_struct(name);
  if (wanted && *wanted == types_->resolve(type.btf)) return true;
  // The same struct can be there twice (once complete, once not): then the spelling decides.
  return types_->spelling(types_->resolve(type.btf)) == fmt::format("struct {}", name);
}

std::string TypeSystem::spelling(const ValueType& type) const {
  std::string text;
  if (type.is_btf)
    text = types_->spelling(type.btf);
  else if (type.size == 0)
    text = "void";
  else
    text = fmt::format("{}{}", type.is_signed ? 's' : 'u', 8 * type.size);
  if (type.pointers > 0) text += " " + std::string(static_cast<std::size_t>(type.pointers), '*');
  return text;
}

}  // namespace glasshook::hook
