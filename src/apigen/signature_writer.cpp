#include "apigen/signature_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "api/call.h"

namespace glasshook::apigen {
namespace {

using Kind = HeaderType::Kind;

bool contains_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(parts, [&](std::string_view part) { return name.contains(part); });
}

/// Names of counts of bytes, as the Windows headers use them.
bool is_byte_length(std::string_view name) {
  return name.starts_with("cb") || name.starts_with("pcb") || name.starts_with("lpcb") ||
         contains_any(name, {"Size", "Length", "Bytes", "Len", "len", "size"});
}

/// Also counts of characters: a text before one of these is a place to write to.
bool is_capacity(std::string_view name) {
  return is_byte_length(name) || name.starts_with("cch") || name.starts_with("pcch") ||
         name.starts_with("lpcch") || contains_any(name, {"MaxCount", "Chars", "Count"});
}

/// Names of what says how many bytes came back, behind a buffer and its capacity.
bool is_returned_length(std::string_view name) {
  return contains_any(name, {"Return", "Result", "BytesRead", "Received", "Copied"});
}

/// Addresses that are looked at or changed, not filled by the function.
bool is_place(std::string_view name) { return contains_any(name, {"Address", "Base", "lpMem"}); }

/// Words of integers that can count (TypeKind::integer).
bool is_count_word(std::string_view word) {
  constexpr std::string_view kWords[] = {"uint", "int", "size", "ssize",
                                         "u64",  "i64", "u16",  "i16"};
  return std::ranges::find(kWords, word) != std::end(kWords);
}

/// True for a text with its capacity right before or behind it.
bool has_capacity(const HeaderFunction& function, std::size_t index) {
  const auto is_one = [&](std::size_t at) { return is_capacity(function.parameters[at].name); };
  const auto is_number = [&](std::size_t at) {
    return function.parameters[at].type.kind == Kind::integer;
  };
  return (index + 1 < function.parameters.size() && is_one(index + 1)) ||
         (index > 0 && is_one(index - 1) && is_number(index - 1));
}

}  // namespace

std::string SignatureWriter::line(const ModuleRule& module, const HeaderFunction& function,
                                  const std::vector<std::string>& names) {
  std::string parameters;
  const std::size_t shown = std::min(function.parameters.size(), api::kMaxParameters);
  for (std::size_t i = 0; i < shown; ++i) {
    const std::string text = parameter(module, function, i);
    if (text.empty()) return {};
    parameters += (i > 0 ? ", " : "") + text;
  }
  if (function.is_variadic || shown < function.parameters.size())
    parameters += parameters.empty() ? "..." : ", ...";
  const HeaderType& type = function.result;
  // Larger structures are returned through a hidden first parameter.
  if (type.kind == Kind::record && type.size > 8) return {};
  std::string result = types_.value_word(type);
  if (result.empty()) return {};
  if (TypeWords::is_text(result) || result.contains('*')) result = "pointer";
  std::string_view category = first_match(rules_.categories, module.name, function);
  if (category.empty()) category = module.category;
  const std::string fails = failure(module, function, result);
  if (fails == " ! win32_error" && (result == "int" || result == "uint")) result = "win32_error";
  return fmt::format("{}: {}({}) -> {}{}\n", category, fmt::join(names, " | "), parameters, result,
                     fails);
}

std::string SignatureWriter::name_of(const HeaderFunction& function, std::size_t index) const {
  const std::string& name = function.parameters[index].name;
  const auto same = std::ranges::count(function.parameters, name, &HeaderParameter::name);
  return name.empty() || same > 1 ? fmt::format("arg{}", index) : name;
}

/// `[out |inout ]NAME: TYPE`
std::string SignatureWriter::parameter(const ModuleRule& module, const HeaderFunction& function,
                                       std::size_t index) {
  const HeaderParameter& parameter = function.parameters[index];
  const std::string set{first_match(rules_.uses, module.name, function, parameter)};
  const std::string name = name_of(function, index);
  if (parameter.type.kind != Kind::pointer) {
    const bool is_number =
        parameter.type.kind == Kind::integer || parameter.type.kind == Kind::enumeration;
    const std::string word = !set.empty() && is_number ? set_word(set, parameter.type)
                                                       : types_.value_word(parameter.type);
    return word.empty() ? word : fmt::format("{}: {}", name, word);
  }
  const HeaderType& target = *parameter.type.target;
  if (!set.empty() && target.kind == Kind::integer)
    return fmt::format("{}{}: {}*", target.is_const ? "" : "out ", name, set_word(set, target));
  return pointer(module, function, index);
}

std::string SignatureWriter::set_word(const std::string& set, const HeaderType& type) const {
  const auto rule = std::ranges::find(rules_.sets, set, &SetRule::name);
  const bool is_flags = rule == rules_.sets.end() || rule->is_flags;
  std::string text = fmt::format("{}<{}", is_flags ? "flags" : "enum", set);
  if (type.size != 4) text += fmt::format(", {}", TypeWords::integer_word(type.size));
  return text + ">";
}

std::string SignatureWriter::pointer(const ModuleRule& module, const HeaderFunction& function,
                                     std::size_t index) {
  const HeaderParameter& parameter = function.parameters[index];
  const HeaderType& target = *parameter.type.target;
  const std::string name = name_of(function, index);
  const std::string word = types_.value_word(parameter.type);
  const std::string pointee = word == "pointer" ? types_.pointee_word(target) : std::string();
  const bool is_buffer = word == "pointer" && types_.is_raw_byte(target) && !is_place(name);
  const bool is_followed = TypeWords::is_text(word) || word.ends_with('*') || !pointee.empty();
  if (!is_followed && !is_buffer) return fmt::format("{}: {}", name, word);

  std::string direction{first_match(rules_.directions, module.name, function, parameter)};
  if (direction.empty() && (parameter.marked_in || parameter.marked_out))
    direction = !parameter.marked_out ? "in" : (parameter.marked_in ? "inout" : "out");
  if (direction.empty()) {
    const bool filled = is_buffer || target.kind == Kind::pointer ||
                        (TypeWords::is_text(word) && has_capacity(function, index));
    direction = target.is_const ? "in" : (filled || pointee == "handle" ? "out" : "inout");
  }
  const std::string prefix = direction == "in" ? "" : direction + " ";
  if (is_buffer) {
    const std::string bytes = buffer(function, index, direction);
    return bytes == "pointer" ? fmt::format("{}: pointer", name)
                              : fmt::format("{}{}: {}", prefix, name, bytes);
  }
  if (pointee == "SOCKADDR") {
    if (const HeaderParameter* length = length_after(function, index, true))
      return fmt::format("{}{}: SOCKADDR*[*{}]", prefix, name, length->name);
    if (const HeaderParameter* length = length_after(function, index, false))
      return fmt::format("{}: SOCKADDR*[{}]", name, length->name);
  }
  return fmt::format("{}{}: {}", prefix, name, pointee.empty() ? word : pointee + "*");
}

/// Bytes, when the next parameter says how many there are.
std::string SignatureWriter::buffer(const HeaderFunction& function, std::size_t index,
                                    std::string_view direction) {
  if (const HeaderParameter* length = length_after(function, index, true);
      length && direction != "in")
    return fmt::format("bytes[*{}]", length->name);
  if (const HeaderParameter* length = length_after(function, index, false)) {
    // Buffer, Length, ReturnLength.
    if (index + 2 < function.parameters.size() && direction != "in") {
      const HeaderParameter& returned = function.parameters[index + 2];
      if (is_returned_length(returned.name) && points_to_count(returned.type))
        return fmt::format("bytes[*{}]", returned.name);
    }
    return fmt::format("bytes[{}]", length->name);
  }
  return "pointer";
}

/// The parameter behind one that says how many bytes it has, itself or where it points to.
const HeaderParameter* SignatureWriter::length_after(const HeaderFunction& function,
                                                     std::size_t index, bool behind_pointer) {
  if (index + 1 >= function.parameters.size()) return nullptr;
  const HeaderParameter& next = function.parameters[index + 1];
  if (next.name.empty() || !is_byte_length(next.name) ||
      std::ranges::count(function.parameters, next.name, &HeaderParameter::name) > 1)
    return nullptr;
  if (behind_pointer) return points_to_count(next.type) ? &next : nullptr;
  return next.type.kind == Kind::integer && is_count_word(types_.value_word(next.type)) ? &next
                                                                                        : nullptr;
}

bool SignatureWriter::points_to_count(const HeaderType& type) {
  return type.kind == Kind::pointer && types_.value_word(type) == "pointer" &&
         is_count_word(types_.pointee_word(*type.target));
}

std::string SignatureWriter::failure(const ModuleRule& module, const HeaderFunction& function,
                                     const std::string& result) const {
  std::string_view convention = first_match(rules_.failures, module.name, function);
  if (result == "void" || convention == "plain") return {};
  if (convention.empty()) {
    if (result == "ntstatus" || result == "hresult" || result == "win32_error")
      convention = result;
    else if (result == "handle" || result == "bool32")
      convention = "null, last_error";
  }
  return convention.empty() ? std::string() : fmt::format(" ! {}", convention);
}

}  // namespace glasshook::apigen
