#include "monitor/paths.h"

#include "hook/path_components.h"
#include "hook/spec.h"

namespace glasshook::monitor {

using linux_guest::MountView;

namespace {

/// `base` + `tail` with one slash between them; "/" + "/etc" is "/etc".
std::string join(std::string_view base, std::string_view tail) {
  if (tail.empty() || tail == "/") return std::string{base.empty() ? "/" : base};
  std::string joined{base == "/" ? "" : base};
  if (!tail.starts_with('/')) joined += '/';
  joined += tail;
  return joined;
}

/// True when `path` is `directory` or below it.
bool is_within(std::string_view path, std::string_view directory) {
  if (directory == "/") return true;
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

std::string path_through(const std::vector<Mounted>& mounts, std::string_view inside) {
  for (const Mounted& mounted : mounts) {
    if (!is_within(inside, mounted.part)) continue;
    return join(mounted.path, mounted.part == "/" ? inside : inside.substr(mounted.part.size()));
  }
  return std::string{inside};
}

std::string PathResolver::path(const capture::FieldView& components) const {
  return hook::PathComponents::decode(components).text();
}

std::string PathResolver::dentry(const capture::FieldView& components,
                                 const capture::FieldView* words) {
  const auto decoded = hook::PathComponents::decode(components);
  std::string inside = decoded.text();
  if (words == nullptr || decoded.unattached) return inside;
  const MountView view{.mount_namespace = Gva{words->word(hook::kDentryMountNamespace)},
                       .root = {.mnt = Gva{words->word(hook::kDentryRootMount)},
                                .dentry = Gva{words->word(hook::kDentryRoot)}}};
  const auto* mounts = mounts_of(Gva{words->word(hook::kDentrySuperBlock)}, view);
  return mounts == nullptr ? inside : path_through(*mounts, inside);
}

std::string PathResolver::file(Gva file, Gva task) const {
  linux_guest::PathRef root = linux_guest::root_of(*kernel_, task);
  if (root.dentry.is_null()) root = linux_guest::first_root(*kernel_);
  return linux_guest::file_path(*kernel_, file, root).text;
}

MountView PathResolver::first_view() const {
  const auto& layout = kernel_->layout();
  const auto task = kernel_->symbol("init_task");
  const auto nsproxy = task ? kernel_->pointer(*task, layout.task.nsproxy) : std::nullopt;
  const auto space = nsproxy ? kernel_->pointer(*nsproxy, layout.nsproxy.mnt_ns) : std::nullopt;
  return {.mount_namespace = space.value_or(Gva{}), .root = linux_guest::first_root(*kernel_)};
}

const std::vector<Mounted>* PathResolver::mounts_of(Gva super_block, MountView view) {
  // A process on its way out has given up its view: then that of whoever saw the file system last
  // has to do, or else that of the first process.
  if (view.mount_namespace.is_null() || view.root.dentry.is_null()) {
    const auto usual = usual_view_.find(super_block.value);
    view = usual != usual_view_.end() ? usual->second : first_view();
    if (view.mount_namespace.is_null() || view.root.dentry.is_null()) return nullptr;
  }
  const MountKey key{view, super_block.value};
  const auto known = mounts_.find(key);
  if (known != mounts_.end()) return &known->second;
  const auto found = linux_guest::mount_points_of(*kernel_, super_block, view);
  if (!found) return nullptr;
  if (mounts_.size() >= kMaxMounts) forget_mounts();
  usual_view_[super_block.value] = view;
  std::vector<Mounted>& mounts = mounts_[key];
  for (const linux_guest::MountPoint& point : *found)
    mounts.push_back({.part = point.part, .path = point.path.text});
  return &mounts;
}

}  // namespace glasshook::monitor
