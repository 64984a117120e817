#include "guest/linux/cgroup.h"

#include <algorithm>
#include <vector>

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxDepth = 256;
constexpr std::size_t kMaxName = 255;
constexpr std::uint32_t kMaxSubsystems = 32;

/// Path of a struct cgroup below the root of its hierarchy; empty when there is none.
std::string path_of_cgroup(const LinuxKernel& kernel, Gva cgroup) {
  const Layout& l = kernel.layout();
  std::vector<std::string> parts;
  auto node = kernel.pointer(cgroup, l.cgroup.kn);
  if (!node || node->is_null()) return {};
  while (node && !node->is_null() && parts.size() < kMaxDepth) {
    const auto parent = kernel.pointer(*node, l.kernfs_node.parent);
    if (!parent || parent->is_null()) break;
    const auto name = kernel.pointer(*node, l.kernfs_node.name);
    parts.push_back(name ? kernel.text(*name, kMaxName) : std::string{});
    node = parent;
  }
  std::string path;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) path += "/" + *part;
  return path.empty() ? "/" : path;
}

}  // namespace

std::string cgroup_path(const LinuxKernel& kernel, Gva css_set) {
  const Layout& l = kernel.layout();
  if (css_set.is_null()) return {};
  std::string path;
  if (const auto cgroup = kernel.pointer(css_set, l.css_set.dfl_cgrp); cgroup && !cgroup->is_null())
    path = path_of_cgroup(kernel, *cgroup);
  const std::uint32_t count =
      l.css_set.subsys.present() ? std::min(l.css_set.subsystems, kMaxSubsystems) : 0;
  for (std::uint32_t i = 0; i < count && path.size() <= 1; ++i) {
    const auto css = kernel.pointer(css_set + l.css_set.subsys.bytes() + std::uint64_t{i} * 8);
    const auto cgroup = css ? kernel.pointer(*css, l.css.cgroup) : std::nullopt;
    if (cgroup && !cgroup->is_null()) path = path_of_cgroup(kernel, *cgroup);
  }
  return path;
}

}  // namespace glasshook::linux_guest
