#include "apigen/type_words.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/scalars.h"
#include "base/text.h"

namespace glasshook::apigen {
namespace {

using Kind = HeaderType::Kind;

constexpr std::uint32_t kMaxStructureBytes = 4096;
constexpr std::string_view kBuiltinStructures[] = {"SOCKADDR", "GUID", "SID"};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool is_filler(std::string_view field) {
  const std::string name = lower(field);
  return name.empty() || name.contains("reserved") || name.contains("padding") ||
         name.starts_with("spare") || name.starts_with("unused");
}

bool is_byte_count(std::string_view field) {
  return field.starts_with("cb") || field == "len" || field == "dwLength";
}

}  // namespace

std::string number_text(std::int64_t value) {
  if (value < 0) return std::to_string(value);
  return value > 9 ? fmt::format("{:#x}", value) : std::to_string(value);
}

std::string_view TypeWords::integer_word(std::uint32_t size) {
  switch (size) {
    case 1:
      return "u8";
    case 2:
      return "u16";
    case 8:
      return "u64";
    default:
      return "uint";
  }
}

bool TypeWords::is_text(std::string_view word) { return word == "utf16" || word == "string"; }

bool TypeWords::is_raw_byte(const HeaderType& type) const {
  if (type.kind == Kind::nothing) return true;
  return type.kind == Kind::integer && type.size == 1 && !type.is_signed && rule_word(type).empty();
}

std::string_view TypeWords::rule_word(const HeaderType& type) const {
  const auto word_of = [&](const std::string& name) -> std::string_view {
    for (const TypeRule& rule : rules_.types)
      if (std::ranges::find(rule.names, name) != rule.names.end()) return rule.word;
    return {};
  };
  for (const std::string& name : type.names)
    if (const std::string_view word = word_of(name); !word.empty()) return word;
  return type.kind == Kind::record ? word_of(type.tag) : std::string_view{};
}

std::string TypeWords::value_word(const HeaderType& type) {
  // Microsoft x64: structures that fit no register are passed by reference.
  const bool by_reference = type.kind == Kind::record && type.size > 8;
  if (const std::string_view word = rule_word(type); !word.empty())
    return std::string(word) + (by_reference ? "*" : "");
  switch (type.kind) {
    case Kind::nothing:
      return "void";
    case Kind::integer:
      if (type.size > 8) return {};
      if (type.size == 4) return type.is_signed ? "int" : "uint";
      return fmt::format("{}{}", type.is_signed ? 'i' : 'u', 8 * type.size);
    case Kind::enumeration:
      return use_enumeration(type.tag) ? fmt::format("enum<{}>", type.tag) : "int";
    case Kind::pointer:
      break;
    case Kind::array:
      return "pointer";
    case Kind::record:
      if (type.size == 1 || type.size == 2 || type.size == 4 || type.size == 8) return "hex";
      return by_reference && use_structure(type.tag) ? type.tag + "*" : "pointer";
    default:
      return {};
  }
  const HeaderType& target = *type.target;
  if (target.kind == Kind::record && target.tag.ends_with("__")) return "handle";
  if (target.kind == Kind::integer && target.size == 1 && target.is_signed) return "string";
  if (target.is_named("WCHAR") || target.is_named("wchar_t") || target.is_named("OLECHAR"))
    return "utf16";
  return "pointer";
}

std::string TypeWords::pointee_word(const HeaderType& type) {
  if (const std::string_view word = rule_word(type); !word.empty())
    return word.ends_with('*') || is_text(word) ? "pointer" : std::string(word);
  if (type.kind == Kind::record) return use_structure(type.tag) ? type.tag : std::string();
  if (type.kind == Kind::nothing || type.kind == Kind::function || type.kind == Kind::array)
    return {};
  std::string word = value_word(type);
  return is_text(word) ? "pointer" : word;
}

bool TypeWords::use_enumeration(const std::string& tag) {
  const auto found = declarations_.enumerations.find(tag);
  if (found == declarations_.enumerations.end() || found->second.empty()) return false;
  enumerations_.insert(tag);
  return true;
}

/// True when a structure can be shown; makes its text at the first use.
bool TypeWords::use_structure(const std::string& tag) {
  if (std::ranges::find(kBuiltinStructures, tag) != std::end(kBuiltinStructures)) return true;
  if (structures_.contains(tag)) return true;
  const auto found = declarations_.records.find(tag);
  if (tag.empty() || found == declarations_.records.end() || unfit_.contains(tag)) return false;
  const HeaderRecord& record = found->second;
  const bool is_interface = !record.fields.empty() && record.fields[0].name == "lpVtbl";
  structures_[tag];
  if (!is_interface && record.size > 0 && record.size <= kMaxStructureBytes &&
      !api::find_scalar(tag))
    structures_[tag] = structure_text(tag, record);
  if (!structures_[tag].empty()) return true;
  structures_.erase(tag);
  unfit_.insert(tag);
  return false;
}

std::string TypeWords::structure_text(const std::string& tag, const HeaderRecord& record) {
  std::string fields;
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    const HeaderField& field = record.fields[i];
    if (is_filler(field.name)) continue;
    if (const std::string word = field_word(record, i); !word.empty())
      fields += fmt::format("  {}: {} @ {}\n", field.name, word, field.offset);
  }
  return fields.empty() ? fields : fmt::format("struct {} {} {{\n{}}}\n", tag, record.size, fields);
}

/// Empty: the field is left out.
std::string TypeWords::field_word(const HeaderRecord& record, std::size_t index) {
  const HeaderType& type = record.fields[index].type;
  if (type.kind == Kind::pointer) return pointer_field_word(record, index);
  if (type.kind == Kind::record) {
    if (const std::string_view word = rule_word(type); !word.empty()) return std::string(word);
    return use_structure(type.tag) ? type.tag : std::string();
  }
  if (type.kind != Kind::array) {
    std::string word = value_word(type);
    return word == "void" ? std::string() : word;
  }
  const HeaderType& element = *type.target;
  if (type.count < 2 || element.kind != Kind::integer || element.size > 2 ||
      type.count * element.size > record.size)
    return {};
  const bool is_wide = element.is_named("WCHAR") || element.is_named("wchar_t");
  if (is_wide) return fmt::format("utf16[{}]", type.count);
  return element.size == 1 && element.is_signed ? fmt::format("bytes[{}]", type.count) : "";
}

std::string TypeWords::pointer_field_word(const HeaderRecord& record, std::size_t index) {
  const HeaderType& type = record.fields[index].type;
  std::string word = value_word(type);
  if (word != "pointer" && word != "string") return word;
  // A count right before a pointer to bytes or characters: {cbData, pbData}, {len, buf}.
  if (index > 0) {
    const HeaderField& before = record.fields[index - 1];
    const bool counted = before.type.kind == Kind::integer && is_byte_count(before.name);
    if (counted && (word == "string" || is_raw_byte(*type.target)) &&
        value_word(before.type) == "uint")
      return fmt::format("bytes[{}]", before.name);
  }
  const HeaderType& target = *type.target;
  const bool followed = target.kind == Kind::record &&
                        std::ranges::find(rules_.followed, target.tag) != rules_.followed.end();
  return followed && use_structure(target.tag) ? target.tag + "*" : word;
}

std::string TypeWords::structures() const {
  std::string text;
  for (const auto& [name, declaration] : structures_) text += declaration + "\n";
  return text;
}

std::string TypeWords::enumerations() const {
  std::string text;
  for (const std::string& tag : enumerations_) {
    text += fmt::format("enum {} {{\n", tag);
    std::set<std::int64_t> values;
    std::set<std::string> names;
    for (const HeaderConstant& constant : declarations_.enumerations.find(tag)->second)
      if (names.insert(constant.name).second && values.insert(constant.value).second)
        text += fmt::format("  {} = {}\n", constant.name, number_text(constant.value));
    text += "}\n\n";
  }
  return text;
}

}  // namespace glasshook::apigen
