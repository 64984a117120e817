#include "api/scalars.h"

#include <array>

namespace glasshook::api {
namespace {

struct Scalar {
  std::string_view word;
  TypeKind kind;
  std::uint8_t size;
  bool is_signed = false;
  std::string_view set = {};  ///< names shown for values
};

// x86-64 System V: int is 4 bytes, long and pointers are 8. Windows' long is an int here.
constexpr auto kScalars = std::to_array<Scalar>({
    {"void", TypeKind::nothing, 0},
    {"i8", TypeKind::integer, 1, true},
    {"i16", TypeKind::integer, 2, true},
    {"i32", TypeKind::integer, 4, true},
    {"i64", TypeKind::integer, 8, true},
    {"u8", TypeKind::integer, 1},
    {"u16", TypeKind::integer, 2},
    {"u32", TypeKind::integer, 4},
    {"u64", TypeKind::integer, 8},
    {"short", TypeKind::integer, 2, true},
    {"ushort", TypeKind::integer, 2},
    {"int", TypeKind::integer, 4, true},
    {"uint", TypeKind::integer, 4},
    {"long", TypeKind::integer, 8, true},
    {"ulong", TypeKind::integer, 8},
    {"size", TypeKind::integer, 8},
    {"ssize", TypeKind::integer, 8, true},
    {"off", TypeKind::integer, 8, true},
    {"time", TypeKind::integer, 8, true},
    {"uid", TypeKind::integer, 4, true},  // signed: -1 is "leave it"
    {"gid", TypeKind::integer, 4, true},
    {"hex", TypeKind::hex, 8},
    {"hex32", TypeKind::hex, 4},
    {"bool", TypeKind::boolean, 1},
    {"bool32", TypeKind::boolean, 4},
    {"char", TypeKind::character, 1},
    {"pointer", TypeKind::pointer, 8},
    {"handle", TypeKind::handle, 8},
    {"hkey", TypeKind::handle, 8, false, "predefined_keys"},
    {"ntstatus", TypeKind::status, 4, false, "ntstatus_names"},
    {"hresult", TypeKind::status, 4, false, "hresult_names"},
    {"win32_error", TypeKind::enumeration, 4, false, "win32_error_names"},
    {"filetime", TypeKind::filetime, 8},
    {"fd", TypeKind::descriptor, 4, true},
    {"mode", TypeKind::mode, 4},
    {"pid", TypeKind::process_id, 4, true},
    {"signal", TypeKind::signal, 4, true, "signal_names"},
    {"errno", TypeKind::errno_value, 4, true},
    {"string", TypeKind::string, 8},
    {"path", TypeKind::path, 8},
    {"utf16", TypeKind::utf16, 8},
    {"strings", TypeKind::string_array, 8},
});

}  // namespace

std::optional<Type> find_scalar(std::string_view word) {
  for (const Scalar& s : kScalars)
    if (s.word == word)
      return Type{.kind = s.kind,
                  .size = s.size,
                  .is_signed = s.is_signed,
                  .name = std::string(s.set),
                  .length_from = {},
                  .length_times = {},
                  .spelling = std::string(word)};
  return std::nullopt;
}

std::vector<std::string> scalar_names() {
  std::vector<std::string> names;
  for (const Scalar& s : kScalars) names.emplace_back(s.word);
  return names;
}

bool is_followed(TypeKind kind) {
  switch (kind) {
    case TypeKind::string:
    case TypeKind::path:
    case TypeKind::utf16:
    case TypeKind::buffer:
    case TypeKind::registry_data:
    case TypeKind::registry_data_ansi:
    case TypeKind::string_array:
    case TypeKind::structure:
    case TypeKind::kernel_file:
    case TypeKind::kernel_path:
    case TypeKind::kernel_dentry:
    case TypeKind::kernel_filename:
    case TypeKind::kernel_task:
      return true;
    default:
      return false;
  }
}

}  // namespace glasshook::api
