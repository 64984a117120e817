// Header functions as lines of the signature language.
#pragma once

#include <string>
#include <vector>

#include "apigen/rules.h"
#include "apigen/type_words.h"

namespace glasshook::apigen {

class SignatureWriter {
 public:
  SignatureWriter(const Rules& rules, TypeWords& types) : rules_(rules), types_(types) {}

  /// `CATEGORY: NAME | NAME (...) -> RESULT ! FAILURE` for a function of a module under its names;
  /// empty for one whose arguments general registers do not hold (floating point).
  std::string line(const ModuleRule& module, const HeaderFunction& function,
                   const std::vector<std::string>& names);

 private:
  std::string parameter(const ModuleRule& module, const HeaderFunction& function,
                        std::size_t index);
  std::string pointer(const ModuleRule& module, const HeaderFunction& function, std::size_t index);
  std::string buffer(const HeaderFunction& function, std::size_t index, std::string_view direction);
  std::string set_word(const std::string& set, const HeaderType& type) const;
  std::string failure(const ModuleRule& module, const HeaderFunction& function,
                      const std::string& result) const;
  std::string name_of(const HeaderFunction& function, std::size_t index) const;
  const HeaderParameter* length_after(const HeaderFunction& function, std::size_t index,
                                      bool behind_pointer);
  bool points_to_count(const HeaderType& type);

  const Rules& rules_;
  TypeWords& types_;
};

}  // namespace glasshook::apigen
