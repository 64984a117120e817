// The parser of the signature language from inside: parser.cpp has statements, parser_types.cpp
// types.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "api/parser.h"

namespace glasshook::api {

/// Recursive descent without recursion: the grammar does not nest. The first error sticks; every
/// step returns false from then on.
class Parser {
 public:
  Parser(std::string_view source, std::string_view file) : lexer_(source), file_(file) {}

  Result<ParsedFile> parse();

 private:
  // Tokens
  bool advance();
  bool skip_newlines();
  bool expect(std::string_view symbol);
  bool expect_word(std::string_view what, std::string& out);
  bool expect_number(std::string_view what, std::uint64_t& out);
  bool end_of_statement();
  bool error(std::string_view message, std::string remedy = {}) {
    return error(token_.place, message, std::move(remedy));
  }
  bool error(Place place, std::string_view message, std::string remedy = {}) {
    if (!error_) error_ = error_at(file_, place, message, std::move(remedy)).error();
    return false;
  }

  // Declarations
  bool statement();
  bool module();
  bool value_set(bool is_flags);
  bool named_value(ValueSet& set);
  bool structure();
  bool structure_field(StructureLayout& layout);
  bool place_field(StructureField& field, Place place);
  bool field_lengths(StructureLayout& layout, Place place);

  // Functions
  bool function(std::string category);
  bool parameters(Signature& signature);
  bool parameter(Signature& signature);
  bool condition(const Signature& signature, Condition& out);
  bool result(Signature& signature);
  bool check(const Signature& signature, Place place);
  bool check_length(const Signature& signature, const Parameter& parameter, Place place);

  // Types
  bool type(Type& out, bool in_structure = false);
  bool set_type(bool is_flags, Type& out);
  bool pointed_type(std::string word, std::optional<Type> pointee, Type& out);
  bool length(Type& out);
  bool registry_data(TypeKind kind, Type& out);

  Lexer lexer_;
  std::string_view file_;
  Token token_;
  std::optional<Error> error_;
  ParsedFile parsed_;
  std::string module_;
  std::unordered_set<std::string> names_;  ///< of the set that is being read
};

}  // namespace glasshook::api
