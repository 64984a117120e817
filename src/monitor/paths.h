// Captured paths as the acting process sees them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "capture/record.h"
#include "guest/linux/kernel.h"
#include "guest/linux/path.h"

namespace glasshook::monitor {

/// Where a directory of a file system is seen.
struct Mounted {
  std::string part;  ///< path within the file system: "/" when all of it is shown
  std::string path;  ///< as the process sees it
};

/// The path at which a process sees the file at `inside` of a file system, by the first of the
/// mounts that shows it; `inside` itself when none does.
[[nodiscard]] std::string path_through(const std::vector<Mounted>& mounts, std::string_view inside);

/// Makes full paths of `path` and `dentry` captures. Mounts are looked up in guest memory once a
/// file system, mount namespace and root directory. Used from one thread; borrows the kernel.
class PathResolver {
 public:
  explicit PathResolver(const linux_guest::LinuxKernel& kernel) : kernel_(&kernel) {}

  /// A `path` capture: its components already lead to the process's root.
  [[nodiscard]] std::string path(const capture::FieldView& components) const;
  /// A `dentry` capture: components below the file system's root, and its hook::DentryWord field
  /// (may be null).
  [[nodiscard]] std::string dentry(const capture::FieldView& components,
                                   const capture::FieldView* words);
  /// An open `struct file` read from memory now, as `task` sees it; empty when it makes no sense.
  [[nodiscard]] std::string file(Gva file, Gva task) const;

  /// Mounts have changed.
  void forget_mounts() {
    mounts_.clear();
    usual_view_.clear();
  }

 private:
  static constexpr std::size_t kMaxMounts = 4096;
  using MountKey = std::pair<linux_guest::MountView, std::uint64_t>;  ///< and super block

  /// How the guest's first process sees files.
  [[nodiscard]] linux_guest::MountView first_view() const;
  [[nodiscard]] const std::vector<Mounted>* mounts_of(Gva super_block, linux_guest::MountView view);

  const linux_guest::LinuxKernel* kernel_;
  std::map<MountKey, std::vector<Mounted>> mounts_;
  std::map<std::uint64_t, linux_guest::MountView> usual_view_;  ///< super block, who saw it
};

}  // namespace glasshook::monitor
