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
  string,        ///< NUL-terminated bytes
  path,          ///< a string that names a file
  utf16,         ///< NUL-terminated UTF-16LE
  buffer,        ///< bytes; count from `length_from`
  string_array,  ///< NULL-terminated array of strings (argv, envp)
  descriptor,    ///< file descriptor
  handle,
  flags,        ///< bits named by the flag set `name`, shown A|B|0x10
  enumeration,  ///< one value named by the set `name`
  errno_value,  ///< 0 or a (negated) errno
  structure,    ///< a layout `name` behind a pointer: sockaddr, timespec, stat, int, ...
  mode,         ///< file mode, octal
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
  std::string name;         ///< flag set, enumeration or structure
  std::string length_from;  ///< buffer: bytes; structure: how many (sockaddr: bytes). An argument's
                            ///< name, "ret", or a number; empty: one
  std::string length_times;  ///< another argument that multiplies it (fread); empty: none
  std::string spelling;      ///< as declared, for `apis show`

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
