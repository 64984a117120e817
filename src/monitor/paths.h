// Captured paths as the acting process sees them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "capture/record.h"
#include "guest/linux/kernel.h"
#include "guest/linux/path.h"

namespace glasshook::monitor {

/// Makes full paths of `path` and `dentry` captures. Mounts are looked up in guest memory once a
/// file system and mount namespace. Used from one thread; borrows the kernel.
class PathResolver {
 public:
  explicit PathResolver(const linux_guest::LinuxKernel& kernel) : kernel_(&kernel) {}

  /// A `path` capture: its components already lead to the process's root.
  [[nodiscard]] std::string path(const capture::FieldView& components) const;
  /// A `dentry` capture: components below the file system's root, and its words field (see
  /// hook::kDentryWordsOffset; may be null). `task` is the acting thread's task_struct.
  [[nodiscard]] std::string dentry(const capture::FieldView& components,
                                   const capture::FieldView* words, Gva task);
  /// An open `struct file` read from memory now; empty when it makes no sense.
  [[nodiscard]] std::string file(Gva file) const;

  /// Mounts have changed.
  void forget_mounts() {
    mounts_.clear();
    usual_space_.clear();
  }

 private:
  static constexpr std::size_t kMaxMounts = 4096;
  using MountKey = std::pair<std::uint64_t, std::uint64_t>;  ///< mount namespace, super block

  [[nodiscard]] const linux_guest::MountPoint* mount_of(Gva super_block, Gva task);
  [[nodiscard]] std::optional<std::uint64_t> mount_namespace_of(Gva task) const;

  const linux_guest::LinuxKernel* kernel_;
  std::map<MountKey, linux_guest::MountPoint> mounts_;
  std::map<std::uint64_t, std::uint64_t> usual_space_;  ///< super block, mount namespace
};

}  // namespace glasshook::monitor
