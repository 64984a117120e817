// Walls around a program that a hostile guest may take over: the hypervisor.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "confinement/landlock.h"
#include "confinement/own_user.h"

namespace glasshook::confinement {

/// What the program may still do.
struct CageNeeds {
  struct Path {
    std::filesystem::path path;
    FileRights rights = FileRights::read;
  };
  std::vector<Path> paths;  ///< those that do not exist are left out
  std::vector<int> files;   ///< open descriptors of files that it opens again for reading
  /// It opens files that only this user may open.
  bool keeps_user = false;
  /// Threads it may have, where it is a user of its own.
  std::uint32_t threads = 512;
};

/// Made before fork, put up in the child between fork and exec: a user of its own (for root) or a
/// user namespace (for others); no other processes, network or IPC to be seen; no files but those
/// it needs (Landlock); no sockets, mounts or traces of others (seccomp); no privileges, now or by
/// exec; no core file. What the kernel or our own rights do not allow is left out and told.
/// Outlives the program: it holds the user id.
class Cage {
 public:
  [[nodiscard]] static Result<Cage> prepare(const CageNeeds& needs);

  /// The user it will be, if that is another.
  [[nodiscard]] std::optional<uid_t> user() const;
  /// fork() into namespaces of its own where that is allowed. Only system calls are safe in the
  /// child.
  [[nodiscard]] pid_t fork_into() noexcept;
  /// In the child, before anything else: the number of walls (see names()) that could not be put
  /// up, as bits. Makes system calls only.
  [[nodiscard]] std::uint32_t enter() const noexcept;

  /// Walls by the bits enter() gives, with what prepare() and fork_into() had to leave out.
  [[nodiscard]] std::vector<std::string> missing(std::uint32_t not_put_up) const;

 private:
  enum Wall : std::uint32_t {
    kUser = 1,
    kNamespaces = 2,
    kLandlock = 4,
    kSeccomp = 8,
    kPrivileges = 16,
    kLimits = 32,
  };

  Cage() = default;
  [[nodiscard]] bool map_user() const noexcept;
  [[nodiscard]] bool become_user() const noexcept;
  [[nodiscard]] bool drop_privileges() const noexcept;
  [[nodiscard]] bool limit_resources() const noexcept;
  [[nodiscard]] bool close_files() const noexcept;
  [[nodiscard]] bool filter_calls() const noexcept;

  std::optional<OwnUser> user_;
  std::optional<LandlockRules> rules_;
  std::vector<sock_filter> filter_;
  std::string user_map_, group_map_;  ///< of /proc/self/uid_map and gid_map
  std::uint32_t threads_ = 0;
  std::uint32_t left_out_ = 0;
  unsigned long namespaces_ = 0;  ///< clone flags that worked
};

}  // namespace glasshook::confinement
