// From libclang's types to HeaderType, collecting the records and enumerations they name.
#pragma once

#include <map>
#include <string>

#include "apigen/clang_text.h"
#include "apigen/declarations.h"

namespace glasshook::apigen {

/// Lives as long as one translation unit; adds to `declarations`.
class TypeReader {
 public:
  explicit TypeReader(Declarations& declarations) : declarations_(declarations) {}

  /// Remembers that a record or enumeration without a name of its own, or with one that only begins
  /// with `_` or `tag`, is called by a typedef.
  void note_typedef(CXCursor declaration);

  [[nodiscard]] HeaderType read(CXType type);

 private:
  std::string tag_of(CXType type) const;
  void read_record(CXType type, const std::string& tag);
  void read_fields(CXType type, std::uint32_t base, HeaderRecord& record);
  void read_enumeration(CXType type, const std::string& tag);

  Declarations& declarations_;
  std::map<std::string, std::string> typedefs_;  ///< by USR of the record or enumeration
};

}  // namespace glasshook::apigen
