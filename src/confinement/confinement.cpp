#include "confinement/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "confinement/system_calls.h"

namespace glasshook::confinement {

namespace {

/// A file descriptor of our own; closed at the end.
class Descriptor {
 public:
  explicit Descriptor(long fd) : fd_(static_cast<int>(fd)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Error failed(std::string_view what) {
  return fail(ErrorCode::io, "{}: {}", what, std::strerror(errno)).error();
}

/// Every right that the header knows and this kernel's Landlock too; rights of files alone.
std::uint64_t rights_of(long abi) {
  constexpr std::uint64_t kFirst = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  constexpr std::uint64_t kTruncate = 1ull << 14;  // from ABI 3 on; not yet in every header
  std::uint64_t rights = kFirst;
  if (abi >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rights |= kTruncate;
  return rights;
}

Result<> allow(int rules, const std::filesystem::path& directory, std::uint64_t rights) {
  const Descriptor parent(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0) return std::unexpected(failed(directory.native()));
  const landlock_path_beneath_attr rule{.allowed_access = rights, .parent_fd = parent.get()};
  if (::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    return std::unexpected(failed("landlock_add_rule"));
  return {};
}

/// False when this kernel has no Landlock.
Result<bool> close_file_system(const Allowed& allowed) {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return false;
  landlock_ruleset_attr handled{};  // newer headers have more members, which stay 0
  handled.handled_access_fs = rights_of(abi);
  const Descriptor rules(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
  if (rules.get() < 0) return std::unexpected(failed("landlock_create_ruleset"));
  if (!allowed.scratch.empty()) {
    constexpr std::uint64_t kEmpty = LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                     LANDLOCK_ACCESS_FS_REMOVE_DIR;
    if (auto ok = allow(rules.get(), allowed.scratch, kEmpty); !ok)
      return std::unexpected(ok.error());
    // The directory's own entry.
    if (auto ok = allow(rules.get(), allowed.scratch.parent_path(), LANDLOCK_ACCESS_FS_REMOVE_DIR);
        !ok)
      return std::unexpected(ok.error());
  }
  if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0)
    return std::unexpected(failed("landlock_restrict_self"));
  return true;
}

/// No core file with guest data in it; no new descriptors without bound.
Result<> limit_resources() {
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return std::unexpected(failed("setrlimit"));
  return {};
}

}  // namespace

Result<std::vector<std::string>> confine(const Allowed& allowed) {
  std::vector<std::string> missing;
  if (auto ok = limit_resources(); !ok) return std::unexpected(ok.error());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return std::unexpected(failed("no_new_privs"));
  const auto closed = close_file_system(allowed);
  if (!closed) return std::unexpected(closed.error());
  if (!*closed) missing.emplace_back("Landlock");
  if (auto ok = filter_system_calls(); !ok) {
    if (ok.error().code != ErrorCode::unsupported) return std::unexpected(ok.error());
    missing.emplace_back("seccomp");
  }
  return missing;
}

}  // namespace glasshook::confinement
