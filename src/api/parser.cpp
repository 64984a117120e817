#include "api/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "api/call.h"
#include "api/nearest.h"
#include "api/parser_state.h"
#include "api/scalars.h"

namespace glasshook::api {
namespace {

struct Failure {
  std::string_view spelling;
  ResultConvention convention;
};

constexpr auto kFailures = std::to_array<Failure>({
    {"errno", ResultConvention::errno_if_minus_one},
    {"null", ResultConvention::null_fails},
    {"null, errno", ResultConvention::errno_if_null},
    {"nonzero", ResultConvention::nonzero_fails},
    {"error_number", ResultConvention::errno_returned},
    {"-errno", ResultConvention::errno_if_negative},
    {"error_pointer", ResultConvention::error_pointer},
    {"last_error", ResultConvention::last_error_if_minus_one},
    {"null, last_error", ResultConvention::last_error_if_null},
    {"ntstatus", ResultConvention::ntstatus},
    {"hresult", ResultConvention::hresult},
    {"win32_error", ResultConvention::win32_error},
});

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Result<ParsedFile> Parser::parse() {
  advance();
  while (!error_ && skip_newlines() && token_.kind != TokenKind::end) statement();
  if (error_) return std::unexpected(std::move(*error_));
  return std::move(parsed_);
}

bool Parser::advance() {
  Result<Token> next = lexer_.next();
  if (!next) return error(lexer_.place(), next.error().message, next.error().remedy);
  token_ = *next;
  return true;
}

bool Parser::skip_newlines() {
  while (token_.kind == TokenKind::newline)
    if (!advance()) return false;
  return true;
}

bool Parser::expect(std::string_view symbol) {
  if (!token_.is(symbol))
    return error(fmt::format("expected '{}' before '{}'", symbol, token_.text));
  return advance();
}

bool Parser::expect_word(std::string_view what, std::string& out) {
  if (token_.kind != TokenKind::word)
    return error(fmt::format("expected {} before '{}'", what, token_.text));
  out = token_.text;
  return advance();
}

bool Parser::expect_number(std::string_view what, std::uint64_t& out) {
  if (token_.kind != TokenKind::number)
    return error(fmt::format("expected {} before '{}'", what, token_.text));
  out = token_.number;
  return advance();
}

bool Parser::end_of_statement() {
  if (token_.kind == TokenKind::end || token_.kind == TokenKind::newline) return true;
  return error(fmt::format("expected the end of the line before '{}'", token_.text));
}

bool Parser::statement() {
  const Place place = token_.place;
  std::string word;
  const bool category_called_module = lexer_.next_is(':');
  if (token_.kind == TokenKind::word && token_.text == "module" && !category_called_module)
    return module();
  if (!expect_word("'module', 'flags', 'enum', 'struct' or a category", word)) return false;
  if (token_.is(":")) return advance() && function(std::move(word));
  if (word == "flags" || word == "enum") return value_set(word == "flags");
  if (word == "struct") return structure();
  return error(place, fmt::format("'{}' begins no statement", word),
               "write CATEGORY: function(...) -> result, or module, flags, enum, struct");
}

/// module NAME [= OBJECT...]
bool Parser::module() {
  std::string_view rest = lexer_.rest_of_line();
  std::vector<std::string> words;
  while (true) {
    const std::size_t begin = rest.find_first_not_of(" \t\r");
    if (begin == rest.npos) break;
    const std::size_t end = std::min(rest.find_first_of(" \t\r", begin), rest.size());
    words.emplace_back(rest.substr(begin, end - begin));
    rest.remove_prefix(end);
  }
  if (words.empty()) return error("a module needs a name");
  if (words.size() > 1 && (words[1] != "=" || words.size() == 2))
    return error("expected: module NAME = OBJECT OBJECT ...");
  Module module{words[0],
                {words.begin() + std::min<std::ptrdiff_t>(2, std::ssize(words)), words.end()}};
  module_ = module.name;
  parsed_.modules.push_back(std::move(module));
  return advance();
}

/// flags NAME { ENTRY ... } and enum NAME { ENTRY ... }
bool Parser::value_set(bool is_flags) {
  const Place place = token_.place;
  ValueSet set{.name = {}, .is_flags = is_flags, .values = {}};
  names_.clear();
  if (!expect_word("a name", set.name) || !expect("{")) return false;
  while (skip_newlines() && !token_.is("}"))
    if (!named_value(set)) return false;
  if (error_ || !expect("}") || !end_of_statement()) return false;
  if (parsed_.vocabulary.sets.contains(set.name))
    return error(place, fmt::format("'{}' is declared twice", set.name));
  parsed_.vocabulary.sets.emplace(set.name, std::move(set));
  return true;
}

/// NAME = VALUE [mask MASK]
bool Parser::named_value(ValueSet& set) {
  const Place place = token_.place;
  NamedValue value;
  if (!expect_word("a name or '}'", value.name) || !expect("=")) return false;
  if (!expect_number("a number", value.value)) return false;
  value.mask = set.is_flags && value.value != 0 ? value.value : ~std::uint64_t{0};
  if (token_.kind == TokenKind::word && token_.text == "mask") {
    if (!advance() || !expect_number("a mask", value.mask)) return false;
    if ((value.value & ~value.mask) != 0)
      return error(place, fmt::format("{} has bits outside its mask", value.name));
  }
  if (!names_.insert(value.name).second)
    return error(place, fmt::format("{} is in the set twice", value.name));
  set.values.push_back(std::move(value));
  return true;
}

/// struct NAME SIZE { FIELD: TYPE @ OFFSET ... }
bool Parser::structure() {
  const Place place = token_.place;
  StructureLayout layout;
  std::uint64_t size = 0;
  if (!expect_word("a name", layout.name) || !expect_number("its size in bytes", size))
    return false;
  if (size == 0 || size > 4096) return error(place, "a structure has 1 to 4096 bytes");
  layout.size = static_cast<std::uint32_t>(size);
  if (find_scalar(layout.name))
    return error(place, fmt::format("'{}' is a built-in type", layout.name));
  if (!expect("{")) return false;
  while (skip_newlines() && !token_.is("}"))
    if (!structure_field(layout)) return false;
  if (error_ || !expect("}") || !end_of_statement() || !field_lengths(layout, place)) return false;
  if (parsed_.vocabulary.structures.contains(layout.name))
    return error(place, fmt::format("'{}' is declared twice", layout.name));
  parsed_.vocabulary.structures.emplace(layout.name, std::move(layout));
  return true;
}

bool Parser::structure_field(StructureLayout& layout) {
  const Place place = token_.place;
  StructureField field;
  std::uint64_t offset = 0;
  if (!expect_word("a field or '}'", field.name)) return false;
  if (!expect(":") || !type(field.type, true) || !expect("@")) return false;
  if (!expect_number("its offset", offset) || !place_field(field, place)) return false;
  if (offset >= layout.size || field.bytes > layout.size - offset)
    return error(place, fmt::format("{} lies outside its structure", field.name));
  field.offset = static_cast<std::uint32_t>(offset);
  layout.fields.push_back(std::move(field));
  return true;
}

/// Whether a field is in the structure or behind a pointer in it, and how many bytes it takes.
bool Parser::place_field(StructureField& field, Place place) {
  Type& type = field.type;
  field.bytes = type.size;
  if (!is_followed(type.kind)) {
    if (type.kind == TypeKind::nothing) return error(place, "a field cannot be void");
    return true;
  }
  const bool counted = !type.length_from.empty() && is_digit(type.length_from[0]);
  if (type.kind == TypeKind::string_array || type.kind == TypeKind::registry_data ||
      type.kind == TypeKind::registry_data_ansi || type.length_from == "ret" ||
      !type.length_field.empty() || !type.length_times.empty())
    return error(place, "a field has no such type",
                 "write pointer for an address that is not followed");
  if (type.kind == TypeKind::structure && !type.spelling.contains('*')) {
    field.place = StructureField::Place::embedded;
    field.bytes = 0;
  } else if (type.kind != TypeKind::structure && counted) {
    field.place = StructureField::Place::array;
    std::from_chars(type.length_from.data(), type.length_from.data() + type.length_from.size(),
                    field.bytes);
    if (type.kind == TypeKind::utf16 && !type.length_in_bytes) field.bytes *= 2;
    if (type.kind == TypeKind::buffer) type.kind = TypeKind::string;
    type.length_from.clear();
  } else {
    field.place = StructureField::Place::pointer;
    field.bytes = type.size;
  }
  return true;
}

/// What only the whole structure can tell: lengths name fields, and such a field need not be shown.
bool Parser::field_lengths(StructureLayout& layout, Place place) {
  for (const StructureField& field : layout.fields) {
    const std::string& from = field.type.length_from;
    if (field.place != StructureField::Place::pointer || from.empty() || is_digit(from[0]))
      continue;
    const auto length = std::ranges::find(layout.fields, from, &StructureField::name);
    if (length == layout.fields.end() || length->type.kind != TypeKind::integer)
      return error(place, fmt::format("'{}' has its length from '{}', which is no integer field",
                                      field.name, from));
    length->place = StructureField::Place::hidden;
  }
  return true;
}

/// NAME [| ALIAS]... (PARAMETER, ...) -> RESULT [! FAILURE]
bool Parser::function(std::string category) {
  const Place place = token_.place;
  if (module_.empty())
    return error(place, "a function before any module", "begin the file with: module NAME");
  Signature signature;
  signature.module = module_;
  signature.category = std::move(category);
  std::vector<std::string> names(1);
  if (!expect_word("a function name", names[0])) return false;
  while (token_.is("|")) {
    if (!advance() || !expect_word("another name", names.emplace_back())) return false;
  }
  if (!parameters(signature) || !result(signature) || !end_of_statement()) return false;
  if (!check(signature, place)) return false;
  for (std::string& name : names) {
    signature.name = std::move(name);
    parsed_.functions.push_back(signature);
  }
  return true;
}

bool Parser::parameters(Signature& signature) {
  if (!expect("(") || !skip_newlines()) return false;
  while (!token_.is(")")) {
    if (signature.variadic) return error("'...' comes last");
    if (token_.is("...")) {
      signature.variadic = true;
      if (!advance()) return false;
    } else if (!parameter(signature)) {
      return false;
    }
    if (!skip_newlines()) return false;
    if (token_.is(",")) {
      if (!advance() || !skip_newlines()) return false;
      if (token_.is(")")) return error("expected a parameter after ','");
    } else if (!token_.is(")")) {
      return error(fmt::format("expected ',' or ')' before '{}'", token_.text));
    }
  }
  return advance();
}

/// [out|inout] NAME: TYPE [if OTHER & FLAG|FLAG]
bool Parser::parameter(Signature& signature) {
  const Place place = token_.place;
  Parameter parameter;
  if (!expect_word("a parameter", parameter.name)) return false;
  if (token_.kind == TokenKind::word && (parameter.name == "out" || parameter.name == "inout")) {
    parameter.direction = parameter.name == "out" ? Direction::out : Direction::inout;
    if (!expect_word("a parameter", parameter.name)) return false;
  }
  if (!expect(":") || !type(parameter.type)) return false;
  if (parameter.type.kind == TypeKind::nothing) return error(place, "a parameter cannot be void");
  if (parameter.direction != Direction::in && !is_followed(parameter.type.kind))
    return error(place, fmt::format("'{}' is not followed, so it cannot be out", parameter.name),
                 "write int*, bytes[n], stat*, ...");
  if (token_.kind == TokenKind::word && token_.text == "if" &&
      !(advance() && condition(signature, parameter.only_if)))
    return false;
  for (const Parameter& other : signature.parameters)
    if (other.name == parameter.name)
      return error(place, fmt::format("two parameters are called '{}'", parameter.name));
  if (signature.parameters.size() == kMaxParameters)
    return error(place, fmt::format("more than {} parameters", kMaxParameters));
  signature.parameters.push_back(std::move(parameter));
  return true;
}

bool Parser::condition(const Signature& signature, Condition& out) {
  const Place place = token_.place;
  if (!expect_word("a parameter", out.parameter) || !expect("&")) return false;
  do {
    if (!out.names.empty() && !advance()) return false;
    if (!expect_word("a flag", out.names.emplace_back())) return false;
  } while (token_.is("|"));
  for (const Parameter& p : signature.parameters) {
    if (p.name != out.parameter) continue;
    if (p.type.kind != TypeKind::flags && p.type.kind != TypeKind::enumeration) break;
    parsed_.references.push_back({Reference::Kind::condition, p.type.name, out.names, place});
    return true;
  }
  return error(place, fmt::format("no flags parameter '{}' before this one", out.parameter));
}

/// -> TYPE|never [! FAILURE]
bool Parser::result(Signature& signature) {
  if (!expect("->")) return false;
  if (token_.kind == TokenKind::word && token_.text == "never") {
    signature.returns = false;
    signature.result = *find_scalar("void");
    return advance();
  }
  if (!type(signature.result) || !token_.is("!")) return !error_;
  if (!advance()) return false;
  const Place place = token_.place;
  std::string spelling;
  while (token_.kind == TokenKind::word || token_.is("-") || token_.is(",")) {
    spelling += token_.is(",") ? ", " : std::string(token_.text);
    if (!advance()) return false;
  }
  const auto failure = std::ranges::find(kFailures, spelling, &Failure::spelling);
  if (failure == kFailures.end())
    return error(place, fmt::format("'{}' is no way to fail", spelling),
                 "one of: errno | null | null, errno | nonzero | error_number | -errno | "
                 "error_pointer | last_error | null, last_error | ntstatus | hresult | "
                 "win32_error");
  signature.convention = failure->convention;
  return true;
}

/// What only the whole line can tell: lengths name integer parameters or the result.
bool Parser::check(const Signature& signature, Place place) {
  for (const Parameter& p : signature.parameters) {
    if (!check_length(signature, p, place)) return false;
    if (p.type.kind != TypeKind::registry_data && p.type.kind != TypeKind::registry_data_ansi)
      continue;
    const std::string_view wanted = std::string_view(p.type.name).substr(p.type.name[0] == '*');
    if (std::ranges::find(signature.parameters, wanted, &Parameter::name) ==
        signature.parameters.end())
      return error(
          place, fmt::format("'{}' has its type from '{}', which is no parameter", p.name, wanted));
  }
  if (is_followed(signature.result.kind))
    return error(place, "a result is a plain value", "write pointer");
  return true;
}

bool Parser::check_length(const Signature& signature, const Parameter& p, Place place) {
  for (const std::string* length : {&p.type.length_from, &p.type.length_times}) {
    const std::string& from = *length;
    if (from == "ret" && p.direction != Direction::out)
      return error(place, "only an out parameter can have as many as the result");
    if (from.empty() || from == "ret" || is_digit(from[0])) continue;
    const bool behind = !p.type.length_field.empty() && length == &p.type.length_from;
    std::vector<std::string> names;
    for (const Parameter& other : signature.parameters) {
      if (other.type.kind != (behind ? TypeKind::structure : TypeKind::integer)) continue;
      names.push_back(other.name);
      if (behind && other.name == from)
        parsed_.references.push_back({Reference::Kind::length,
                                      other.type.name,
                                      {p.type.length_field == "*" ? "" : p.type.length_field},
                                      place});
    }
    if (std::ranges::find(names, from) != names.end()) continue;
    return error(place,
                 fmt::format("'{}' has its length from '{}', which is no {} parameter", p.name,
                             from, behind ? "followed" : "integer"),
                 did_you_mean(from, names));
  }
  return true;
}

std::string_view failure_spelling(ResultConvention convention) {
  const auto found = std::ranges::find(kFailures, convention, &Failure::convention);
  return found == kFailures.end() ? std::string_view{} : found->spelling;
}

std::unexpected<Error> error_at(std::string_view file, Place place, std::string_view message,
                                std::string remedy) {
  return with_remedy(
      fail(ErrorCode::invalid_argument, "{}:{}:{}: {}", file, place.line, place.column, message),
      std::move(remedy));
}

Result<ParsedFile> parse_api_file(std::string_view source, std::string_view file) {
  return Parser(source, file).parse();
}

}  // namespace glasshook::api
