#include "behaviour/windows/nt_path.h"

#include <algorithm>
#include <array>

namespace glasshook::behaviour::windows {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Cuts `prefix` off; false when the text does not begin with it.
bool cut(std::string_view& text, std::string_view prefix) {
  if (!same_name(text.substr(0, prefix.size()), prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Like cut(), but a name has to end where the prefix does.
bool cut_name(std::string_view& text, std::string_view prefix) {
  std::string_view rest = text;
  if (!cut(rest, prefix) || (!rest.empty() && rest.front() != '\\')) return false;
  if (!rest.empty()) rest.remove_prefix(1);
  text = rest;
  return true;
}

bool is_drive(std::string_view text) {
  return text.size() >= 2 && text[1] == ':' && lower(text[0]) >= 'a' && lower(text[0]) <= 'z' &&
         (text.size() == 2 || text[2] == '\\');
}

std::string without_last_backslash(std::string_view text) {
  constexpr std::size_t kDriveRoot = 3;  // "C:\"
  if (text.ends_with('\\') && text.size() > 1 && !(is_drive(text) && text.size() == kDriveRoot))
    text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string join(std::string_view base, std::string_view relative) {
  std::string text(base);
  if (relative.empty()) return text;
  if (!text.ends_with('\\')) text += '\\';
  while (relative.starts_with('\\')) relative.remove_prefix(1);
  return text.append(relative);
}

FileName file_name(std::string_view nt) {
  std::string_view rest = nt;
  if (cut(rest, "\\Device\\NamedPipe\\")) return {FileKind::pipe, join("\\\\.\\pipe", rest)};
  if (cut(rest, "\\Device\\MailSlot\\")) return {FileKind::mailslot, join("\\\\.\\mailslot", rest)};
  const bool dos = cut(rest, "\\??\\") || cut(rest, "\\DosDevices\\") || cut(rest, "\\GLOBAL??\\");
  if (is_drive(rest)) return {FileKind::file, without_last_backslash(rest)};
  if (!dos) return {FileKind::device, std::string(nt)};
  if (cut(rest, "UNC\\")) return {FileKind::file, "\\\\" + without_last_backslash(rest)};
  if (cut(rest, "pipe\\")) return {FileKind::pipe, join("\\\\.\\pipe", rest)};
  if (cut(rest, "mailslot\\")) return {FileKind::mailslot, join("\\\\.\\mailslot", rest)};
  return {FileKind::device, join("\\\\.", rest)};
}

std::string registry_name(std::string_view nt) {
  std::string_view rest = nt;
  if (cut_name(rest, "\\Registry\\Machine")) return join("HKLM", without_last_backslash(rest));
  if (cut_name(rest, "\\Registry\\User")) return join("HKU", without_last_backslash(rest));
  return without_last_backslash(nt);
}

std::string object_name(std::string_view nt) {
  std::string_view rest = nt;
  if (cut(rest, "\\Sessions\\")) {
    const std::size_t end = rest.find('\\');
    if (end == rest.npos) return std::string(nt);
    rest.remove_prefix(end);
  }
  return cut(rest, "\\BaseNamedObjects\\") ? std::string(rest) : std::string(nt);
}

}  // namespace glasshook::behaviour::windows
