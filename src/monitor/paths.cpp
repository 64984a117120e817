#include "monitor/paths.h"

#include "hook/path_components.h"

namespace glasshook::monitor {

using linux_guest::MountPoint;

namespace {

/// `base` + `tail` with one slash between them; "/" + "/etc" is "/etc".
std::string join(const std::string& base, std::string_view tail) {
  if (tail.empty() || tail == "/") return base.empty() ? "/" : base;
  std::string joined = base == "/" ? "" : base;
  if (!tail.starts_with('/')) joined += '/';
  joined += tail;
  return joined;
}

}  // namespace

std::string PathResolver::path(const capture::FieldView& components) const {
  return hook::PathComponents::decode(components).text();
}

std::string PathResolver::dentry(const capture::FieldView& components,
                                 const capture::FieldView* words, Gva task) {
  const auto decoded = hook::PathComponents::decode(components);
  const std::string inside = decoded.text();
  if (words == nullptr || decoded.unattached) return inside;
  const MountPoint* mount = mount_of(Gva{words->word(0)}, task);
  if (mount == nullptr) return inside;
  // A bind mount may show a part of the file system only.
  std::string_view tail = inside;
  if (mount->part != "/" && tail.starts_with(mount->part)) tail.remove_prefix(mount->part.size());
  return join(mount->path.text, tail);
}

std::string PathResolver::file(Gva file) const {
  return linux_guest::file_path(*kernel_, file, linux_guest::first_root(*kernel_)).text;
}

std::optional<std::uint64_t> PathResolver::mount_namespace_of(Gva task) const {
  const auto& layout = kernel_->layout();
  const auto nsproxy = kernel_->pointer(task, layout.task.nsproxy);
  if (!nsproxy || nsproxy->is_null()) return std::nullopt;
  const auto space = kernel_->pointer(*nsproxy, layout.nsproxy.mnt_ns);
  return space ? std::optional(space->value) : std::nullopt;
}

const MountPoint* PathResolver::mount_of(Gva super_block, Gva task) {
  // A short-lived process may have given up its namespaces by now: then the mount by which others
  // saw that file system has to do, or else the one by which the first process sees it.
  auto space = mount_namespace_of(task);
  const auto usual = usual_space_.find(super_block.value);
  if (!space && usual != usual_space_.end()) space = usual->second;
  if (!space) {
    task = kernel_->symbol("init_task").value_or(Gva{});
    space = mount_namespace_of(task);
  }
  if (!space) return nullptr;
  const MountKey key{*space, super_block.value};
  const auto known = mounts_.find(key);
  if (known != mounts_.end()) return &known->second;
  auto found = linux_guest::mount_point_of(*kernel_, super_block, task);
  if (!found) return nullptr;
  if (mounts_.size() >= kMaxMounts) forget_mounts();
  usual_space_[super_block.value] = key.first;
  return &mounts_.emplace(key, std::move(*found)).first->second;
}

}  // namespace glasshook::monitor
