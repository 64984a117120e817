// Landlock (Documentation/userspace-api/landlock.rst): what a process may still do to files.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace glasshook::confinement {

/// Rights to what lies at or below a path.
enum class FileRights : std::uint8_t {
  read,        ///< files and directories
  execute,     ///< the same, and to run programs
  read_write,  ///< existing files
  scratch,     ///< make, write and remove files
};

/// Everything is forbidden that is not allowed, once a process restricts itself. Borrowed by
/// processes that inherit the descriptor; closed with the object.
class LandlockRules {
 public:
  /// `isolate` also forbids TCP, abstract sockets and signals to processes outside, as far as the
  /// kernel knows how. ErrorCode::unsupported where it has no Landlock.
  [[nodiscard]] static Result<LandlockRules> create(bool isolate);
  LandlockRules(LandlockRules&& other) noexcept;
  LandlockRules& operator=(LandlockRules&& other) noexcept;
  ~LandlockRules();

  Result<> allow(const std::filesystem::path& path, FileRights rights) const;
  /// The same for what an open descriptor names. Makes system calls only, as restrict_self() does.
  [[nodiscard]] bool allow_open(int fd, FileRights rights) const noexcept;
  /// Holds for the calling thread and those it makes; needs no_new_privs.
  [[nodiscard]] bool restrict_self() const noexcept;

 private:
  LandlockRules(int fd, long abi) : fd_(fd), abi_(abi) {}

  int fd_ = -1;
  long abi_ = 0;
};

}  // namespace glasshook::confinement
