// The signature of an API: names and types of its arguments, and what its result means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glasshook::api {

/// How a value is read from the guest and shown.
enum class TypeKind : std::uint8_t {
  nothing,  ///< void
  integer,  ///< `size` bytes, signed or not
  hex,      ///< an unsigned number best read in hex
  boolean,
  pointer,  ///< an address, not followed
  character,
  string,              ///< NUL-terminated bytes
  path,                ///< a string that names a file
  utf16,               ///< NUL-terminated UTF-16LE
  buffer,              ///< bytes; count from `length_from`
  string_array,        ///< NULL-terminated array of strings (argv, envp)
  descriptor,          ///< file descriptor
  handle,              ///< shown in hex, or by the set `name` (predefined ones: HKEY_CURRENT_USER)
  status,              ///< NTSTATUS, HRESULT: one value named by the set `name`, else shown in hex
  filetime,            ///< 100 ns since 1601 UTC
  flags,               ///< bits named by the flag set `name`, shown A|B|0x10
  enumeration,         ///< one value named by the set `name`
  errno_value,         ///< 0 or a (negated) errno
  registry_data,       ///< a buffer whose meaning the parameter `name` says (REG_SZ: UTF-16)
  registry_data_ansi,  ///< the same with text of bytes
  structure,           ///< a layout `name` behind a pointer: sockaddr, timespec, stat, int, ...
  mode,                ///< file mode, octal
  process_id,
  signal,
  // Linux kernel objects behind a pointer (kernel! functions, typed from BTF)
  kernel_file,      ///< struct file *: its path
  kernel_path,      ///< struct path *
  kernel_dentry,    ///< struct dentry *
  kernel_filename,  ///< struct filename *: its name
  kernel_task,      ///< struct task_struct *: pid and comm
};

enum class Direction : std::uint8_t {
  in,    ///< read at entry
  out,   ///< read at return
  inout  ///< read at both
};

struct Type {
  TypeKind kind = TypeKind::hex;
  std::uint8_t size = 8;  ///< bytes of the argument itself
  bool is_signed = false;
  std::string name;  ///< flag set, enumeration or structure; registry data: the parameter with the
                     ///< type, "*name" when it points to it
  std::string length_from;   ///< buffer: bytes; text: units; structure: how many (sockaddr: bytes).
                             ///< An argument's name, "ret", or a number; empty: one, or up to NUL.
                             ///< In a structure the name of another field
  std::string length_times;  ///< another argument that multiplies it (fread); empty: none
  std::string spelling;      ///< as declared, for `apis show`
  std::string length_field = {};  ///< where the length is behind the pointer `length_from`: a field
                                  ///< of that structure, or "*" for a plain value; empty: not there
  bool length_in_bytes = false;   ///< utf16: the length counts bytes

  bool operator==(const Type&) const = default;
};

/// Says that a parameter counts only when a flag of another one is set (open's mode: O_CREAT).
struct Condition {
  std::string parameter;           ///< a flag set or enumeration; empty: no condition
  std::vector<std::string> names;  ///< any of these

  bool operator==(const Condition&) const = default;
};

struct Parameter {
  std::string name;
  Type type;
  Direction direction = Direction::in;
  Condition only_if = {};

  bool operator==(const Parameter&) const = default;
};

/// When a result means failure, and where the reason is.
enum class ResultConvention : std::uint8_t {
  plain,  ///< no failure value
  errno_if_minus_one,
  errno_if_null,
  errno_if_negative,  ///< the result is -errno itself (kernel functions)
  error_pointer,      ///< kernel: an address in the last page is -errno (ERR_PTR)
  errno_returned,     ///< the result is 0 or an errno (posix_spawn, pthread_*)
  null_fails,         ///< NULL is a failure whose reason is elsewhere (dlopen)
  nonzero_fails,      ///< anything but 0 is a failure (getaddrinfo)
  // Windows
  last_error_if_minus_one,  ///< INVALID_HANDLE_VALUE, SOCKET_ERROR, 0xffffffff
  last_error_if_null,       ///< FALSE, NULL, 0
  ntstatus,                 ///< the result is an NTSTATUS, negative on failure
  hresult,                  ///< the result is an HRESULT, negative on failure
  win32_error,              ///< the result is 0 or a Win32 error (LSTATUS, getaddrinfo)
};

struct Signature {
  std::string module;  ///< "libc", "kernel", ...; the catalogue knows its file names
  std::string name;
  std::string category;  ///< "file", "process", "memory", "network", "module", ...
  std::vector<Parameter> parameters;
  Type result;
  ResultConvention convention = ResultConvention::plain;
  bool variadic = false;
  bool returns = true;  ///< false: exit, abort

  bool operator==(const Signature&) const = default;
};

}  // namespace glasshook::api
