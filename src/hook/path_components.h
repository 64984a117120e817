// The list field of a path or dentry capture, as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/record.h"
#include "hook/path_walk.h"

namespace glasshook::hook {

/// Components of a captured path. Borrows the record; names are guest bytes.
struct PathComponents {
  std::vector<std::string_view> names;  ///< leaf first
  PathStatus status = kPathFaulted;
  bool deleted = false;
  bool unattached = false;
  bool cut = false;  ///< names are missing or shortened for lack of room, or unreadable

  /// From any list field; other kinds of field give a faulted, empty path.
  [[nodiscard]] static PathComponents decode(const capture::FieldView& field);

  /// "/a/b/c". A path whose top is missing begins with ".../", and an unattached dentry is its
  /// single name ("memfd:x", "TCP"). Empty when nothing could be read.
  [[nodiscard]] std::string text() const;
};

}  // namespace glasshook::hook
