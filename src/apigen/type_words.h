// Header types as words of the signature language, and the structures they need.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "apigen/declarations.h"
#include "apigen/rules.h"

namespace glasshook::apigen {

/// Translates types by the rules, and remembers which structures and enumerations were used.
class TypeWords {
 public:
  TypeWords(const Declarations& declarations, const Rules& rules)
      : declarations_(declarations), rules_(rules) {}

  /// The word of a plain value (`uint`, `handle`, `enum<X>`, `utf16`); "pointer" for pointers that
  /// are not followed. Empty: a value that no general register holds.
  std::string value_word(const HeaderType& type);
  /// The word of what a pointer leads to, as it is written before `*`: `uint`, `STARTUPINFOW`.
  /// Empty: it is not followed.
  std::string pointee_word(const HeaderType& type);
  /// The name of an integer type of that width: u8 to u64, or uint.
  static std::string_view integer_word(std::uint32_t size);
  static bool is_text(std::string_view word);
  /// Bytes of which kind are unknown: void, BYTE, an unsigned char that is no BOOLEAN.
  bool is_raw_byte(const HeaderType& type) const;

  /// The declarations of all used structures and enumerations, as .api text.
  std::string structures() const;
  std::string enumerations() const;
  [[nodiscard]] std::size_t structure_count() const { return structures_.size(); }

 private:
  std::string_view rule_word(const HeaderType& type) const;
  bool use_structure(const std::string& tag);
  std::string structure_text(const std::string& tag, const HeaderRecord& record);
  std::string field_word(const HeaderRecord& record, std::size_t index);
  std::string pointer_field_word(const HeaderRecord& record, std::size_t index);
  bool use_enumeration(const std::string& tag);

  const Declarations& declarations_;
  const Rules& rules_;
  std::map<std::string, std::string> structures_;  ///< text by name; empty while being made
  std::set<std::string> unfit_;                    ///< structures that cannot be shown
  std::set<std::string> enumerations_;
};

/// A number as the signature language writes it.
[[nodiscard]] std::string number_text(std::int64_t value);

}  // namespace glasshook::apigen
