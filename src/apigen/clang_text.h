// libclang's strings and owners, for C++.
#pragma once

#include <clang-c/Index.h>

#include <memory>
#include <string>
#include <type_traits>

namespace glasshook::apigen {

/// Takes over a CXString.
inline std::string text(CXString taken) {
  const char* characters = clang_getCString(taken);
  std::string copy = characters ? characters : "";
  clang_disposeString(taken);
  return copy;
}

inline std::string spelling(CXCursor cursor) { return text(clang_getCursorSpelling(cursor)); }

struct IndexDisposer {
  void operator()(void* index) const { clang_disposeIndex(index); }
};
struct UnitDisposer {
  void operator()(CXTranslationUnit unit) const { clang_disposeTranslationUnit(unit); }
};
using OwnedIndex = std::unique_ptr<void, IndexDisposer>;
using OwnedUnit = std::unique_ptr<std::remove_pointer_t<CXTranslationUnit>, UnitDisposer>;

/// Calls `visit(cursor)` for the direct children of `parent`.
template <class Visit>
void for_each_child(CXCursor parent, Visit visit) {
  clang_visitChildren(
      parent,
      [](CXCursor child, CXCursor, CXClientData data) {
        (*static_cast<Visit*>(data))(child);
        return CXChildVisit_Continue;
      },
      &visit);
}

/// Calls `visit(field)` for the fields of a record.
template <class Visit>
void for_each_field(CXType record, Visit visit) {
  clang_Type_visitFields(
      record,
      [](CXCursor field, CXClientData data) {
        (*static_cast<Visit*>(data))(field);
        return CXVisit_Continue;
      },
      &visit);
}

}  // namespace glasshook::apigen
