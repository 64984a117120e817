// Names of the NT object manager as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace glasshook::behaviour::windows {

/// What an open of a file object reached.
enum class FileKind : std::uint8_t {
  file,      ///< on a drive or a share; directories too
  pipe,      ///< `\\.\pipe\name`
  mailslot,  ///< `\\.\mailslot\name`
  device,    ///< anything else
};

struct FileName {
  FileKind kind = FileKind::file;
  std::string text;
};

/// `C:\x` for `\??\C:\x`, `\\server\share\x` for `\??\UNC\server\share\x`, `\\.\pipe\x` for
/// `\??\pipe\x` and `\Device\NamedPipe\x`. Other names are left as they are. UTF-8; a backslash at
/// the end is dropped unless it is a drive's.
[[nodiscard]] FileName file_name(std::string_view nt);

/// `HKLM\Software` for `\Registry\Machine\Software`, `HKU\S-1-5-18` for `\Registry\User\S-1-5-18`.
/// Other names are left as they are.
[[nodiscard]] std::string registry_name(std::string_view nt);

/// The name of a mutex, event, section, ...: what stands behind `\BaseNamedObjects\`, also a
/// session's. Other names are left as they are.
[[nodiscard]] std::string object_name(std::string_view nt);

/// `base\relative`; with one backslash between them, and none for an empty `relative`.
[[nodiscard]] std::string join(std::string_view base, std::string_view relative);

/// Equal but for the case of ASCII letters, which is how far this goes without Windows' tables.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b);

}  // namespace glasshook::behaviour::windows
