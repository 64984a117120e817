// Types of the signature language.
#include <fmt/format.h>

#include "api/nearest.h"
#include "api/parser_state.h"
#include "api/scalars.h"

namespace glasshook::api {

/// SCALAR | flags<SET[, INT]> | enum<SET[, INT]> | bytes[LENGTH] | TEXT[LENGTH] |
/// SCALAR* [LENGTH] | STRUCT* [...]; in structures also STRUCT
bool Parser::type(Type& out, bool in_structure) {
  const Place place = token_.place;
  std::string word;
  if (!expect_word("a type", word)) return false;
  if ((word == "flags" || word == "enum") && token_.is("<")) {
    if (!set_type(word == "flags", out)) return false;
  } else if (word == "bytes") {
    out = Type{.kind = TypeKind::buffer,
               .name = {},
               .length_from = {},
               .length_times = {},
               .spelling = "bytes"};
    if (!token_.is("["))
      return error("bytes need a length", "write bytes[n], bytes[ret], bytes[16]");
    return length(out);
  } else if (word == "reg_data" || word == "reg_data_ansi") {
    return registry_data(
        word == "reg_data" ? TypeKind::registry_data : TypeKind::registry_data_ansi, out);
  } else if (const std::optional<Type> scalar = find_scalar(word)) {
    out = *scalar;
    if (!out.name.empty())
      parsed_.references.push_back({Reference::Kind::enumeration, out.name, {}, place});
  } else if (token_.is("*")) {
    parsed_.references.push_back({Reference::Kind::structure, word, {}, place});
    return pointed_type(std::move(word), std::nullopt, out);
  } else if (in_structure && token_.is("@")) {
    parsed_.references.push_back({Reference::Kind::structure, word, {}, place});
    out = Type{.kind = TypeKind::structure,
               .name = word,
               .length_from = {},
               .length_times = {},
               .spelling = word};
    return true;
  } else {
    return error(place, fmt::format("unknown type '{}'", word), did_you_mean(word, scalar_names()));
  }
  if (token_.is("*")) return pointed_type(out.spelling, out, out);
  const bool is_text = out.kind == TypeKind::string || out.kind == TypeKind::utf16;
  return !is_text || !token_.is("[") || length(out);
}

bool Parser::set_type(bool is_flags, Type& out) {
  const Place place = token_.place;
  std::string set;
  if (!expect("<") || !expect_word("the name of a set", set)) return false;
  out = Type{.kind = is_flags ? TypeKind::flags : TypeKind::enumeration,
             .size = 4,
             .name = set,
             .length_from = {},
             .length_times = {},
             .spelling = fmt::format("{}<{}", is_flags ? "flags" : "enum", set)};
  if (token_.is(",")) {
    std::string word;
    if (!advance()) return false;
    const Place type_place = token_.place;
    if (!expect_word("an integer type", word)) return false;
    const std::optional<Type> integer = find_scalar(word);
    if (!integer || integer->kind != TypeKind::integer)
      return error(type_place, fmt::format("'{}' is not an integer type", word));
    out.size = integer->size;
    out.spelling += ", " + word;
  }
  out.spelling += ">";
  parsed_.references.push_back({is_flags ? Reference::Kind::flags : Reference::Kind::enumeration,
                                std::move(set),
                                {},
                                place});
  return expect(">");
}

/// A pointer to structures or to plain values; the latter become a layout of one unnamed field.
bool Parser::pointed_type(std::string word, std::optional<Type> pointee, Type& out) {
  const Place place = token_.place;
  if (!expect("*")) return false;
  if (pointee) {
    if (is_followed(pointee->kind) || pointee->kind == TypeKind::nothing)
      return error(place, fmt::format("{}* cannot be shown", word), "write pointer or pointer*");
    StructureLayout layout{.name = word, .size = pointee->size, .fields = {}};
    layout.fields.push_back(
        {.name = {}, .offset = 0, .bytes = pointee->size, .type = std::move(*pointee)});
    parsed_.vocabulary.structures.insert_or_assign(word, std::move(layout));
  }
  out = Type{.kind = TypeKind::structure,
             .name = word,
             .length_from = {},
             .length_times = {},
             .spelling = word + "*"};
  return !token_.is("[") || length(out);
}

/// [NUMBER], [NAME], [*NAME], [NAME.FIELD], [NAME * NAME]; of UTF-16 also [NAME bytes]
bool Parser::length(Type& out) {
  if (!expect("[")) return false;
  out.spelling += "[";
  if (token_.is("*")) {
    out.length_field = "*";
    out.spelling += "*";
    if (!advance()) return false;
  }
  if (token_.kind != TokenKind::word &&
      (token_.kind != TokenKind::number || !out.length_field.empty()))
    return error(fmt::format("expected a length before '{}'", token_.text));
  if (token_.kind == TokenKind::number && (token_.number == 0 || token_.number > 65536))
    return error("a length is 1 to 65536");
  out.length_from =
      token_.kind == TokenKind::number ? std::to_string(token_.number) : std::string(token_.text);
  out.spelling += out.length_from;
  if (!advance()) return false;
  if (token_.is(".") && out.length_field.empty()) {
    if (!advance() || !expect_word("a field", out.length_field)) return false;
    out.spelling += "." + out.length_field;
  }
  if (token_.is("*") && !(advance() && expect_word("a parameter", out.length_times))) return false;
  if (!out.length_times.empty()) out.spelling += " * " + out.length_times;
  if (out.kind == TypeKind::utf16 && token_.kind == TokenKind::word && token_.text == "bytes") {
    out.length_in_bytes = true;
    out.spelling += " bytes";
    if (!advance()) return false;
  }
  if (out.kind != TypeKind::registry_data && out.kind != TypeKind::registry_data_ansi) {
    out.spelling += "]";
    return expect("]");
  }
  if (!expect(",")) return false;
  if (token_.is("*")) {
    out.name = "*";
    if (!advance()) return false;
  }
  std::string type;
  if (!expect_word("the parameter with the type", type)) return false;
  out.name += type;
  out.spelling += ", " + out.name + "]";
  return expect("]");
}

/// reg_data[LENGTH, TYPE], reg_data[LENGTH, *TYPE]
bool Parser::registry_data(TypeKind kind, Type& out) {
  out = Type{.kind = kind,
             .name = {},
             .length_from = {},
             .length_times = {},
             .spelling = kind == TypeKind::registry_data ? "reg_data" : "reg_data_ansi"};
  return length(out);
}

}  // namespace glasshook::api
