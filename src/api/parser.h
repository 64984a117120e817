// The signature language: apis/**/*.api. See docs/adding-an-api.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/lexer.h"
#include "api/signature.h"
#include "api/vocabulary.h"
#include "base/result.h"

namespace glasshook::api {

/// A module and the shared objects whose exports it describes.
struct Module {
  std::string name;                  ///< "libc"
  std::vector<std::string> objects;  ///< stems of file names: "libc", "libpthread", ...; empty when
                                     ///< the file leaves it to another one, or means `name`

  bool operator==(const Module&) const = default;
};

/// A use of a set or a structure, to be checked when all files are read.
struct Reference {
  enum class Kind : std::uint8_t { flags, enumeration, structure, condition, length };
  Kind kind = Kind::flags;
  std::string name;                ///< of the set or structure
  std::vector<std::string> names;  ///< condition: members that the set must have; length: an
                                   ///< integer field of the structure
  Place place;
};

/// What one file says.
struct ParsedFile {
  std::vector<Module> modules;
  std::vector<Signature> functions;
  Vocabulary vocabulary;
  std::vector<Reference> references;
};

/// Parses one file. `file` names it in messages ("libc.api:12:8: unknown type ...").
[[nodiscard]] Result<ParsedFile> parse_api_file(std::string_view source, std::string_view file);

/// How a convention is written behind `!`; empty for ResultConvention::plain.
[[nodiscard]] std::string_view failure_spelling(ResultConvention convention);

/// The error for a place in a file.
[[nodiscard]] std::unexpected<Error> error_at(std::string_view file, Place place,
                                              std::string_view message, std::string remedy = {});

}  // namespace glasshook::api
