#include "guest/linux/path.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

#include "guest/linux/listing.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxComponents = 2048;  // as many as fit PATH_MAX
constexpr std::size_t kMaxMounts = 131072;
/// Mounts of one file system whose paths are compared.
constexpr std::size_t kMaxMountPoints = 64;
constexpr std::uint32_t kNameMax = 255;
/// include/linux/fs.h, from 6.5 on. FMODE_BACKING was bit 25 first and is bit 24 since 6.14 and in
/// later 6.12 releases; bit 25 became FMODE_NONOTIFY. Only backing files are
/// FMODE_NOACCOUNT too, among those that a process can have.
constexpr std::uint32_t kFmodeBackingOld = 1u << 25, kFmodeBacking = 1u << 24,
                        kFmodeNoAccount = 1u << 29;

/// Builds a path from leaf to root.
class Builder {
 public:
  Builder(const LinuxKernel& kernel, PathRef root) : kernel_(kernel), root_(root) {}

  FilePath build(PathRef at) {
    FilePath path;
    for (std::size_t i = 0; at != root_; ++i) {
      const auto parent = kernel_.pointer(at.dentry, l_.dentry.parent);
      const auto mount_root = kernel_.pointer(at.mnt, l_.vfsmount.root);
      if (!parent || i == kMaxComponents) return finish(path, false);
      if (mount_root == at.dentry || *parent == at.dentry) {
        const auto up = mount_root == at.dentry ? above(at.mnt) : std::nullopt;
        if (!up) {  // the top of the namespace, or of a mount nobody can reach
          path.reachable = root_.dentry.is_null();
          break;
        }
        at = *up;
        continue;
      }
      if (!prepend(at.dentry)) return finish(path, false);
      at.dentry = *parent;
    }
    return finish(path, true);
  }

 private:
  /// Where the mount is mounted, or empty at the top.
  [[nodiscard]] std::optional<PathRef> above(Gva mnt) const {
    if (!l_.mount.mnt.present()) return std::nullopt;
    const Gva mount = mnt - l_.mount.mnt.bytes();
    const auto parent = kernel_.pointer(mount, l_.mount.parent);
    const auto mountpoint = kernel_.pointer(mount, l_.mount.mountpoint);
    if (!parent || !mountpoint || *parent == mount || parent->is_null()) return std::nullopt;
    return PathRef{.mnt = *parent + l_.mount.mnt.bytes(), .dentry = *mountpoint};
  }

  bool prepend(Gva dentry) {
    const auto name = kernel_.pointer(dentry, l_.dentry.name);
    const auto length = kernel_.read<std::uint32_t>(dentry, l_.dentry.name_length);
    if (!name || !length || *length == 0 || *length > kNameMax) return false;
    if (total_ + *length + 1 > kMaxPathBytes) return false;
    std::string part = kernel_.text(*name, *length);
    if (part.empty()) return false;
    total_ += part.size() + 1;
    parts_.push_back(std::move(part));
    return true;
  }

  FilePath finish(FilePath path, bool whole) const {
    path.truncated = !whole;
    path.text.reserve(total_ + 1);
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) path.text += "/" + *part;
    if (path.text.empty() && whole) path.text = "/";
    return path;
  }

  const LinuxKernel& kernel_;
  const Layout& l_ = kernel_.layout();
  PathRef root_;
  std::vector<std::string> parts_;
  std::size_t total_ = 0;
};

/// True when no directory holds the dentry any more (d_unlinked()).
bool is_deleted(const LinuxKernel& kernel, Gva dentry) {
  const auto& l = kernel.layout().dentry;
  const auto hashed = kernel.read<std::uint64_t>(dentry, l.hash_pprev);
  const auto parent = kernel.pointer(dentry, l.parent);
  return hashed == 0u && parent && *parent != dentry;
}

std::string file_system_name(const LinuxKernel& kernel, Gva dentry) {
  const Layout& l = kernel.layout();
  const auto sb = kernel.pointer(dentry, l.dentry.sb);
  const auto type = sb ? kernel.pointer(*sb, l.super_block.type) : std::nullopt;
  const auto name = type ? kernel.pointer(*type, l.file_system_type.name) : std::nullopt;
  return name ? kernel.text(*name, 64) : std::string{};
}

/// "mnt" of a namespace file: inode -> struct ns_common -> its operations -> name.
std::string namespace_kind(const LinuxKernel& kernel, Gva inode) {
  const Layout& l = kernel.layout();
  const auto ns = kernel.pointer(inode, l.inode.private_data);
  const auto ops = ns ? kernel.pointer(*ns, l.ns_common.ops) : std::nullopt;
  const auto name = ops ? kernel.pointer(*ops, l.ns_operations.name) : std::nullopt;
  return name ? kernel.text(*name, 64) : std::string{};
}

/// Files that make up their own names (d_dname()): sockets, pipes, anonymous inodes, memfds.
std::optional<FilePath> pseudo_path(const LinuxKernel& kernel, PathRef path) {
  const Layout& l = kernel.layout();
  const auto op = kernel.pointer(path.dentry, l.dentry.op);
  const auto d_dname = op ? kernel.pointer(*op, l.dentry_operations.d_dname) : std::nullopt;
  if (!d_dname || d_dname->is_null()) return std::nullopt;
  const auto parent = kernel.pointer(path.dentry, l.dentry.parent);
  // The root of a mount made from such a file has an ordinary path again.
  if (parent == path.dentry && kernel.pointer(path.mnt, l.vfsmount.root) == path.dentry)
    return std::nullopt;
  const auto name = kernel.pointer(path.dentry, l.dentry.name);
  const std::string own = name ? kernel.text(*name, kNameMax) : std::string{};
  const Gva inode = kernel.pointer(path.dentry, l.dentry.inode).value_or(Gva{});
  const auto number = kernel.read<std::uint64_t>(inode, l.inode.ino).value_or(0);
  const std::string kind = file_system_name(kernel, path.dentry);
  FilePath result;
  result.pseudo = true;
  if (kind == "sockfs") {
    result.text = fmt::format("socket:[{}]", number);
  } else if (kind == "pipefs") {
    result.text = fmt::format("pipe:[{}]", number);
  } else if (kind == "nsfs") {
    result.text = fmt::format("{}:[{}]", namespace_kind(kernel, inode), number);
  } else if (kind == "anon_inodefs") {
    result.text = "anon_inode:" + own;
  } else if (kind == "pidfs") {
    result.text = "anon_inode:[pidfd]";
  } else {  // memfd and other files of a file system that is not mounted anywhere
    result.text = "/" + own;
    result.deleted = true;
  }
  return result;
}

/// True for the file below a stacked one, which keeps the path its user sees (FMODE_BACKING).
bool is_backing(const LinuxKernel& kernel, Gva file) {
  const auto& l = kernel.layout().file;
  const auto mode = kernel.read<std::uint32_t>(file, l.mode);
  return l.backing_user_path.present() && mode && (*mode & kFmodeNoAccount) != 0 &&
         (*mode & (kFmodeBacking | kFmodeBackingOld)) != 0;
}

/// All mounts of a namespace, as struct mount.
Listing<Gva> mounts_of(const LinuxKernel& kernel, Gva mnt_ns) {
  const Layout& l = kernel.layout();
  if (l.mnt_ns.mounts.present()) {
    const auto root = kernel.pointer(mnt_ns, l.mnt_ns.mounts);
    return walk_tree(kernel, root.value_or(Gva{}), l.mount.node, kMaxMounts);
  }
  if (!l.mnt_ns.list.present()) return {};
  return walk_list(kernel, mnt_ns + l.mnt_ns.list.bytes(), l.mount.list, kMaxMounts);
}

}  // namespace

std::optional<PathRef> read_path_ref(const LinuxKernel& kernel, Gva at) {
  const auto mnt = kernel.pointer(at, kernel.layout().path.mnt);
  const auto dentry = kernel.pointer(at, kernel.layout().path.dentry);
  if (!mnt || !dentry || dentry->is_null()) return std::nullopt;
  return PathRef{.mnt = *mnt, .dentry = *dentry};
}

PathRef root_of(const LinuxKernel& kernel, Gva task) {
  const Layout& l = kernel.layout();
  const auto fs = kernel.pointer(task, l.task.fs);
  if (!fs || fs->is_null() || !l.fs.root.present()) return {};
  return read_path_ref(kernel, *fs + l.fs.root.bytes()).value_or(PathRef{});
}

PathRef first_root(const LinuxKernel& kernel) {
  const auto init = kernel.symbol("init_task");
  return init ? root_of(kernel, *init) : PathRef{};
}

FilePath path_of(const LinuxKernel& kernel, PathRef path, PathRef root) {
  if (auto pseudo = pseudo_path(kernel, path)) return *pseudo;
  FilePath result = Builder{kernel, root}.build(path);
  result.deleted = is_deleted(kernel, path.dentry);
  return result;
}

std::optional<PathRef> user_path(const LinuxKernel& kernel, Gva file) {
  const Layout& l = kernel.layout();
  const Offset member = is_backing(kernel, file) ? l.file.backing_user_path : l.file.path;
  return member.present() ? read_path_ref(kernel, file + member.bytes()) : std::nullopt;
}

Gva user_inode(const LinuxKernel& kernel, Gva file) {
  const Layout& l = kernel.layout();
  if (!is_backing(kernel, file)) return kernel.pointer(file, l.file.inode).value_or(Gva{});
  const auto path = user_path(kernel, file);
  return path ? kernel.pointer(path->dentry, l.dentry.inode).value_or(Gva{}) : Gva{};
}

FilePath file_path(const LinuxKernel& kernel, Gva file, PathRef root) {
  const auto path = user_path(kernel, file);
  if (path) return path_of(kernel, *path, root);
  FilePath unknown;
  unknown.truncated = true;
  return unknown;
}

FilePath path_in_file_system(const LinuxKernel& kernel, Gva dentry) {
  FilePath path = Builder{kernel, {}}.build({.mnt = {}, .dentry = dentry});
  path.deleted = is_deleted(kernel, dentry);
  return path;
}

MountView view_of(const LinuxKernel& kernel, Gva task) {
  const Layout& l = kernel.layout();
  const auto nsproxy = kernel.pointer(task, l.task.nsproxy);
  const auto mnt_ns = nsproxy ? kernel.pointer(*nsproxy, l.nsproxy.mnt_ns) : std::nullopt;
  return {.mount_namespace = mnt_ns.value_or(Gva{}), .root = root_of(kernel, task)};
}

Result<std::vector<MountPoint>> mount_points_of(const LinuxKernel& kernel, Gva super_block,
                                                const MountView& view) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const Layout& l = kernel.layout();
  if (view.mount_namespace.is_null())
    return fail(ErrorCode::not_found, "the task has no mount namespace");
  const auto whole = kernel.pointer(super_block, l.super_block.root);
  std::vector<MountPoint> points;
  const auto add = [&](PathRef root) {
    points.push_back({.root = root,
                      .path = path_of(kernel, root, view.root),
                      .part = path_in_file_system(kernel, root.dentry).text});
  };
  const auto is_of = [&](Gva mnt) { return kernel.pointer(mnt, l.vfsmount.sb) == super_block; };
  // A root directory need not be the root of a mount (chroot).
  if (!view.root.dentry.is_null() && is_of(view.root.mnt)) add(view.root);
  for (const Gva mount : mounts_of(kernel, view.mount_namespace).items) {
    const Gva mnt = mount + l.mount.mnt.bytes();
    if (!is_of(mnt)) continue;
    if (points.size() >= kMaxMountPoints) break;
    const auto shown = kernel.pointer(mnt, l.vfsmount.root);
    if (shown) add({.mnt = mnt, .dentry = *shown});
  }
  if (points.empty())
    return fail(ErrorCode::not_found, "the file system is not mounted where the task is");
  std::ranges::stable_sort(points, std::greater{}, [&](const MountPoint& point) {
    return (point.path.reachable ? 2 : 0) + (point.root.dentry == whole ? 1 : 0);
  });
  return points;
}

}  // namespace glasshook::linux_guest
