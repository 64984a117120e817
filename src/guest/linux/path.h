// Paths of guest files as the guest sees them: mounts, chroots, deleted and pseudo files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// Longest path that is built; deeper ones keep their leaf and lose their beginning.
inline constexpr std::size_t kMaxPathBytes = 65536;

/// A `struct path`: a dentry in a mount.
struct PathRef {
  Gva mnt;  ///< struct vfsmount
  Gva dentry;

  constexpr auto operator<=>(const PathRef&) const = default;
};

/// A path and what is to be known about it. `text` is raw guest bytes.
struct FilePath {
  std::string text;        ///< "/etc/passwd", "socket:[123]"; empty when nothing could be read
  bool deleted = false;    ///< no directory holds it any more
  bool reachable = true;   ///< false when it lies outside the given root; then seen from its mount
  bool truncated = false;  ///< the beginning is missing: too deep, or memory was unreadable
  bool pseudo = false;     ///< not in the file tree: socket, pipe, anonymous inode, memfd

  /// What reading it may have cost, in bytes of text; see ListingBudget.
  [[nodiscard]] std::size_t cost() const { return truncated ? kMaxPathBytes : text.size(); }
  /// As /proc shows it: with " (deleted)".
  [[nodiscard]] std::string display() const { return deleted ? text + " (deleted)" : text; }
};

/// Reads a `struct path` that lies at `at`.
[[nodiscard]] std::optional<PathRef> read_path_ref(const LinuxKernel& kernel, Gva at);

/// The root directory of a task; null pointers when it has none (it is exiting).
[[nodiscard]] PathRef root_of(const LinuxKernel& kernel, Gva task);
/// The root of the first mount namespace: what the guest's administrator calls "/".
[[nodiscard]] PathRef first_root(const LinuxKernel& kernel);

/// The path as seen from `root`, as d_path() of fs/d_path.c builds it. A path that does not lead
/// to `root` is given from the root of its mount namespace, as unreachable.
[[nodiscard]] FilePath path_of(const LinuxKernel& kernel, PathRef path, PathRef root);

/// The `struct path` an open file shows its user: that of the stacked file system (overlayfs) for
/// the real file below.
[[nodiscard]] std::optional<PathRef> user_path(const LinuxKernel& kernel, Gva file);
/// The inode an open file shows its user; null when unreadable.
[[nodiscard]] Gva user_inode(const LinuxKernel& kernel, Gva file);

/// Path of an open file (`struct file`). A file of a stacked file system (overlayfs) has the path
/// its user sees.
[[nodiscard]] FilePath file_path(const LinuxKernel& kernel, Gva file, PathRef root);

/// Path of a dentry below the root of its own file system, as in "/etc/passwd".
[[nodiscard]] FilePath path_in_file_system(const LinuxKernel& kernel, Gva dentry);

/// A mount of some file system.
struct MountPoint {
  PathRef root;      ///< the mount and what of the file system it shows
  FilePath path;     ///< where, as the task sees it
  std::string part;  ///< path of `root.dentry` in its file system: "/" when all of it is shown
};

/// From where somebody looks at the file tree.
struct MountView {
  Gva mount_namespace;  ///< struct mnt_namespace
  PathRef root;         ///< the root directory

  constexpr auto operator<=>(const MountView&) const = default;
};

/// The view of a task; null pointers when it is exiting.
[[nodiscard]] MountView view_of(const LinuxKernel& kernel, Gva task);

/// The mounts of the file system in the view, those that are below its root and show all of the
/// file system first; 64 at most. `not_found` when there is none (pipes, or mounted elsewhere). A
/// path_in_file_system() P that begins with `part` is seen at `path` + (P without `part`).
[[nodiscard]] Result<std::vector<MountPoint>> mount_points_of(const LinuxKernel& kernel,
                                                              Gva super_block,
                                                              const MountView& view);

}  // namespace glasshook::linux_guest
