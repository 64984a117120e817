// How declarations become signatures: apis/windows/headers.rules, which says what headers do not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apigen/declarations.h"
#include "base/result.h"

namespace glasshook::apigen {

/// A translation unit: headers that can be included together.
struct HeaderSet {
  std::vector<std::string> options;  ///< for the compiler
  std::vector<std::string> headers;
};

/// A module of signatures, made from the import library lib<name>.a.
struct ModuleRule {
  std::string name;
  std::string category;              ///< of functions that no category rule names
  std::vector<std::string> objects;  ///< DLLs whose exports it describes
};

/// `[module!]function[(parameter)|(:TYPEDEF)][->TYPEDEF]`; every part is a glob.
struct Selector {
  std::string module = "*";
  std::string function = "*";
  std::string parameter;       ///< empty: the rule is about the function
  std::string parameter_type;  ///< a typedef; empty: any
  std::string result_type;     ///< a typedef; empty: any

  [[nodiscard]] bool matches(std::string_view module_name, const HeaderFunction& function_) const;
  [[nodiscard]] bool matches(std::string_view module_name, const HeaderFunction& function_,
                             const HeaderParameter& parameter_) const;
};

/// A statement `KEYWORD [WORD]: SELECTOR...`.
struct SelectorRule {
  std::string value;
  std::vector<Selector> selectors;
};

/// `flags|enum NAME [64] = MACRO... [without MACRO...]`; macros are globs.
struct SetRule {
  std::string name;
  bool is_flags = false;
  bool is_wide = false;  ///< values of 64 bits; others are cut to 32
  std::vector<std::string> macros;
  std::vector<std::string> without;
};

/// `type TYPEDEF... = WORD`.
struct TypeRule {
  std::vector<std::string> names;
  std::string word;
};

/// The first rule that matches counts.
struct Rules {
  std::vector<HeaderSet> headers;
  std::vector<ModuleRule> modules;
  std::vector<SelectorRule> categories;
  std::vector<SelectorRule> uses;        ///< value: a set
  std::vector<SelectorRule> directions;  ///< value: in, out, inout
  std::vector<SelectorRule> failures;    ///< value: as behind `!`; "plain": none
  std::vector<SetRule> sets;
  std::vector<TypeRule> types;
  std::vector<std::string> followed;  ///< structures that pointers in structures are followed to
};

/// Parses rules: a statement a line, continued by lines that begin with a blank; `#` comments.
/// Errors name file and line.
[[nodiscard]] Result<Rules> parse_rules(std::string_view text, std::string_view file);

/// The value of the first rule with a matching selector; empty when there is none.
[[nodiscard]] std::string_view first_match(const std::vector<SelectorRule>& rules,
                                           std::string_view module, const HeaderFunction& function);
[[nodiscard]] std::string_view first_match(const std::vector<SelectorRule>& rules,
                                           std::string_view module, const HeaderFunction& function,
                                           const HeaderParameter& parameter);

}  // namespace glasshook::apigen
