// The names API signatures use besides functions: flag sets, enumerations and structure layouts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/signature.h"

namespace glasshook::api {

/// One name of a set. In a flag set it applies when `(word & mask) == value`.
struct NamedValue {
  std::string name;
  std::uint64_t value = 0;
  std::uint64_t mask = 0;

  bool operator==(const NamedValue&) const = default;
};

/// A flag set or an enumeration.
struct ValueSet {
  std::string name;
  bool is_flags = false;
  std::vector<NamedValue> values;

  bool operator==(const ValueSet&) const = default;
};

/// One member of a structure.
struct StructureField {
  enum class Place : std::uint8_t {
    value,     ///< a plain value
    array,     ///< characters in the structure itself: `string` or `utf16`, up to the first NUL
    embedded,  ///< the structure `type.name`, in this one
    pointer,   ///< an address; what it leads to is captured too (nested_data)
    hidden,    ///< only says how long another field is
  };

  std::string name;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;  ///< as stored; arrays: all of it; embedded: 0, see structure_size()
  Type type;
  Place place = Place::value;

  bool operator==(const StructureField&) const = default;
};

/// A structure in guest memory. A layout of one unnamed field stands for a plain value (`int *`).
struct StructureLayout {
  std::string name;
  std::uint32_t size = 0;  ///< bytes to capture of one element
  std::vector<StructureField> fields;

  bool operator==(const StructureLayout&) const = default;
};

/// Everything declared for one platform, by name.
struct Vocabulary {
  std::map<std::string, ValueSet, std::less<>> sets;
  std::map<std::string, StructureLayout, std::less<>> structures;

  [[nodiscard]] const ValueSet* find_set(std::string_view name) const;
  [[nodiscard]] const StructureLayout* find_structure(std::string_view name) const;
  /// Bytes to capture of one element of a structure (`sockaddr`, `stat`, `int`); 0 when unknown.
  [[nodiscard]] std::uint32_t structure_size(std::string_view name) const;
  /// A field of a structure; null when there is no such structure or field.
  [[nodiscard]] const StructureField* find_field(std::string_view structure,
                                                 std::string_view field) const;
};

}  // namespace glasshook::api
