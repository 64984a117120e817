// A decoded API call, and the layout of the records it is decoded from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/signature.h"
#include "api/vocabulary.h"
#include "capture/record.h"

namespace glasshook::api {

// Fields of the records that the hook compiler makes for a signature. Field 1 is the context of
// hook/spec.h. The parameter with index i has at most one field of each kind in a record.

/// Entry: the raw arguments, one word a parameter, in order (registers, then stack).
inline constexpr std::uint16_t kArgumentsField = 2;
/// Exit: the words {result, error}; the error is errno or on Windows the thread's last error, and
/// kUnknownErrno when it was not read.
inline constexpr std::uint16_t kResultField = 3;
inline constexpr std::uint64_t kUnknownErrno = ~std::uint64_t{0};
/// + i: what parameter i points to, as pointed_data() says. In the entry record for `in` and
/// `inout`; in the exit record for `out` and `inout`, and again when it faulted at entry.
/// kernel_file, kernel_path and kernel_dentry: a list of path components, leaf first.
/// kernel_filename: a string. kernel_task: words {tid}.
inline constexpr std::uint16_t kPointedField = 16;
/// + i: a second datum of parameter i. kernel_task: its comm (string).
inline constexpr std::uint16_t kSecondField = 32;
/// + i: entry i of nested_data(). In the record that has the field of its parameter.
inline constexpr std::uint16_t kNestedField = 64;
/// Pointers inside structures that are followed, at most: of one signature, and one behind the
/// other.
inline constexpr std::size_t kMaxNested = 32;
inline constexpr int kMaxNestedDepth = 4;
// `detail` of a list field: how far it goes (the values of hook/path_walk.h), and what a path is.
inline constexpr std::uint8_t kListStatusMask = 0x0f;
inline constexpr std::uint8_t kListComplete = 0;
inline constexpr std::uint8_t kListUnreachable = 2;    ///< a path that begins at another root
inline constexpr std::uint8_t kListDeleted = 0x10;     ///< a path whose leaf was removed
inline constexpr std::uint8_t kListUnattached = 0x20;  ///< not a path: a pipe, socket or memfd
/// Parameters beyond these are not captured.
inline constexpr std::size_t kMaxParameters = 16;

/// What to read behind a parameter.
struct PointedData {
  enum class Kind : std::uint8_t {
    none,          ///< nothing: the word says it all
    string,        ///< NUL-terminated bytes
    utf16,         ///< NUL-terminated UTF-16LE
    bytes,         ///< see below
    string_array,  ///< NULL-terminated array of string pointers, as a list
    kernel,        ///< by TypeKind: kernel_file ... kernel_task
  };
  Kind kind = Kind::none;
  bool is_counted = false;  ///< utf16: as many bytes as below, instead of up to the NUL
  // bytes: element_size * (count, or argument `count_parameter`, or the result) bytes, times
  // argument `factor_parameter` if there is one.
  std::uint32_t element_size = 1;
  std::uint32_t count = 1;
  int count_parameter = -1;   ///< index of the parameter that holds the count, or -1
  int factor_parameter = -1;  ///< index of the parameter that multiplies it, or -1
  bool count_is_result = false;
  /// The count is not the parameter's word (for nested data: nothing else counts) but lies in
  /// memory: `count_size` bytes at `count_offset` behind it. 0: it does not.
  std::uint8_t count_size = 0;
  std::uint32_t count_offset = 0;

  bool operator==(const PointedData&) const = default;
};

/// Something behind a pointer in a structure that a parameter points to.
struct NestedData {
  std::size_t parameter = 0;
  int parent = -1;  ///< the entry whose structure holds the pointer, or -1: the parameter's
  std::uint32_t offset = 0;    ///< of the pointer in that structure
  PointedData data;            ///< count_size: the count is in the same structure as the pointer
  const Type* type = nullptr;  ///< borrowed from the vocabulary
  std::string path;            ///< as in NestedValue
};

/// How to capture parameter `index` of a signature.
[[nodiscard]] PointedData pointed_data(const Vocabulary& vocabulary, const Signature& signature,
                                       std::size_t index);

/// What to follow inside the structures of a signature, parents first; at most kMaxNested, and of
/// arrays the first element. Borrows from the vocabulary.
[[nodiscard]] std::vector<NestedData> nested_data(const Vocabulary& vocabulary,
                                                  const Signature& signature);

/// A value for structured output; strings are raw guest bytes (the type of behaviour::Value).
using StructuredValue =
    std::variant<std::uint64_t, std::int64_t, bool, std::string, std::vector<std::string>>;

/// What a pointer inside a structure leads to: text as UTF-8, anything else as raw guest bytes.
struct NestedValue {
  std::string path;  ///< "ObjectName", "Token.User"; structures that are but a text (and its
                     ///< length) add nothing: "" behind a UNICODE_STRING parameter
  std::string data;
  bool truncated = false;
};

/// One argument of a call, ready to show. `text` is printable; `value`, `data` and `list` hold raw
/// guest bytes.
struct ArgumentValue {
  std::string name;
  std::uint64_t raw = 0;
  std::string text;                 ///< `"/etc/passwd"`, `O_RDONLY|O_CLOEXEC`, `127.0.0.1:80`
  StructuredValue value;            ///< the same for machines: numbers as numbers, strings unquoted
  std::string data;                 ///< captured bytes as they are (strings, paths, buffers)
  std::vector<std::string> list;    ///< captured strings (argv, envp)
  std::vector<NestedValue> nested;  ///< what was captured behind pointers in a structure
  bool captured = false;            ///< what it points to was read
  bool faulted = false;             ///< it could not be read, neither at entry nor at return
  bool truncated = false;           ///< `data` or `list` was cut
  bool relevant = true;             ///< false: the callee ignores it (open's mode without O_CREAT)
};

/// A call: its entry, and its return when that was seen.
struct ApiCall {
  const Signature* signature = nullptr;  ///< borrowed from the catalogue
  std::vector<ArgumentValue> arguments;
  bool returned = false;          ///< an exit record was there
  std::uint64_t result = 0;       ///< raw; valid when returned
  std::string result_text = "?";  ///< "3", "0x7f…", "-1"; "?" when not returned
  StructuredValue result_value;
  bool failed = false;                  ///< by the signature's convention
  std::uint32_t error = 0;              ///< when failed and known: by the signature's convention
                                        ///< errno, last error, NTSTATUS or HRESULT; else 0
  std::string error_name;               ///< "ENOENT", "ERROR_FILE_NOT_FOUND"
  std::string error_message;            ///< "No such file or directory"; Windows has none
  std::vector<std::string> incomplete;  ///< what is missing, for people
};

/// Joins the records of one call. Either may be null (a lost record); what they say is hostile.
[[nodiscard]] ApiCall decode_call(const Vocabulary& vocabulary, const Signature& signature,
                                  const capture::RecordView* entry,
                                  const capture::RecordView* exit);

/// As strace shows it: `open("/x", O_RDONLY) = -1 ENOENT (No such file or directory)`.
[[nodiscard]] std::string to_text(const ApiCall& call);

}  // namespace glasshook::api
