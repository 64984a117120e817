// What C headers declare, free of the library that parsed them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace glasshook::apigen {

/// A C type as far as signatures need it.
struct HeaderType {
  enum class Kind : std::uint8_t {
    nothing,
    integer,
    floating,
    pointer,
    record,
    enumeration,
    function,
    array,
    other
  };
  Kind kind = Kind::other;
  std::vector<std::string> names;  ///< typedefs, outermost first: REGSAM, ACCESS_MASK, DWORD
  std::uint32_t size = 0;          ///< bytes; 0 when unknown
  bool is_signed = false;
  bool is_const = false;
  std::string tag;                     ///< record or enumeration: its name in Declarations
  std::uint64_t count = 0;             ///< array
  std::shared_ptr<HeaderType> target;  ///< pointer, array: what it is of

  /// True when one of the typedefs is called that.
  [[nodiscard]] bool is_named(std::string_view name) const;
};

struct HeaderParameter {
  std::string name;  ///< may be empty
  HeaderType type;
  bool marked_in = false;  ///< by IN, _In_, __in and their kin
  bool marked_out = false;
};

struct HeaderFunction {
  std::string name;
  HeaderType result;
  std::vector<HeaderParameter> parameters;
  bool is_variadic = false;
};

struct HeaderField {
  std::string name;
  std::uint32_t offset = 0;  ///< bytes
  HeaderType type;
};

/// A structure. Members of unions beyond the first, and bit fields, are left out.
struct HeaderRecord {
  std::uint32_t size = 0;  ///< 0: only declared
  std::vector<HeaderField> fields;
};

struct HeaderConstant {
  std::string name;
  std::int64_t value = 0;
};

/// Several translation units together.
struct Declarations {
  std::map<std::string, HeaderFunction, std::less<>> functions;
  std::map<std::string, HeaderRecord, std::less<>> records;
  std::map<std::string, std::vector<HeaderConstant>, std::less<>> enumerations;
  /// Macros that are integer constants, in the order of their definition.
  std::vector<HeaderConstant> constants;
};

}  // namespace glasshook::apigen
