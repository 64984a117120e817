#include "hook/path_components.h"

#include <ranges>

namespace glasshook::hook {

PathComponents PathComponents::decode(const capture::FieldView& field) {
  PathComponents path;
  if (field.kind != capture::FieldKind::list) return path;
  const std::uint8_t status = field.detail & kPathStatusMask;
  path.status = status <= kPathFaulted ? static_cast<PathStatus>(status) : kPathFaulted;
  path.deleted = (field.detail & kPathDeleted) != 0;
  path.unattached = (field.detail & kPathUnattached) != 0;
  path.cut = field.truncated() || field.faulted();
  std::string_view rest = field.text();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\0');
    path.names.push_back(rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  // A file system's own root is called "/": it adds nothing to a path.
  if (path.unattached && !path.names.empty() && path.names.back() == "/") {
    path.names.pop_back();
    path.unattached = false;
  }
  return path;
}

std::string PathComponents::text() const {
  if (names.empty()) return status == kPathComplete || status == kPathUnreachable ? "/" : "";
  std::string text;
  if (status == kPathTruncated || status == kPathFaulted) text = "...";
  for (const std::string_view name : names | std::views::reverse) {
    if (!unattached || !text.empty()) text += '/';
    text += name;
  }
  return text;
}

}  // namespace glasshook::hook
