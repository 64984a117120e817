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
  if (!css_set.is_kernel()) return {};
  std::string path;
  // Most of its pointers lead to one cgroup: that of hierarchy 2.
  std::vector<Gva> walked;
  const auto take = [&](std::optional<Gva> cgroup) {
    if (!cgroup || cgroup->is_null() || std::ranges::find(walked, *cgroup) != walked.end()) return;
    walked.push_back(*cgroup);
    path = path_of_cgroup(kernel, *cgroup);
  };
  take(kernel.pointer(css_set, l.css_set.dfl_cgrp));
  if (!l.css_set.subsys.present() || path.size() > 1) return path;
  std::vector<std::uint64_t> states(std::min(l.css_set.subsystems, kMaxSubsystems));
  const Gva subsys = css_set + l.css_set.subsys.bytes();
  if (!kernel.virtual_memory().read(subsys, std::as_writable_bytes(std::span{states}))) return path;
  for (std::size_t i = 0; i < states.size() && path.size() <= 1; ++i)
    take(kernel.pointer(Gva{states[i]}, l.css.cgroup));
  return path;
}

}  // namespace glasshook::linux_guest
