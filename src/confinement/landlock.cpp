#include "confinement/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace glasshook::confinement {
namespace {

// Newer than some headers: (ABI) what it is.
constexpr std::uint64_t kTruncate = 1ull << 14;            // 3
constexpr std::uint64_t kBindTcp = 1, kConnectTcp = 2;     // 4
constexpr std::uint64_t kAbstractSocket = 1, kSignal = 2;  // 6

/// struct landlock_ruleset_attr of ABI 6; older kernels take it when what they lack is zero.
struct RulesetAttributes {
  std::uint64_t files = 0, network = 0, scoped = 0;
};

constexpr std::uint64_t kFileRights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                      LANDLOCK_ACCESS_FS_READ_FILE | kTruncate;

/// Every right that the header knows and this kernel's Landlock too; rights of files alone.
std::uint64_t rights_of(long abi) {
  std::uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  if (abi >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rights |= kTruncate;
  return rights;
}

std::uint64_t bits_of(FileRights rights) {
  constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  constexpr std::uint64_t kReadWrite =
      LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
  switch (rights) {
    case FileRights::read:
      return kRead;
    case FileRights::execute:
      return kRead | LANDLOCK_ACCESS_FS_EXECUTE;
    case FileRights::read_write:
      return kReadWrite;
    case FileRights::scratch:
      return kReadWrite | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
  }
  return 0;
}

std::unexpected<Error> failed(std::string_view what) {
  return fail(ErrorCode::io, "{}: {}", what, std::strerror(errno));
}

}  // namespace

Result<LandlockRules> LandlockRules::create(bool isolate) {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return fail(ErrorCode::unsupported, "this kernel has no Landlock");
  RulesetAttributes handled{.files = rights_of(abi)};
  if (isolate && abi >= 4) handled.network = kBindTcp | kConnectTcp;
  if (isolate && abi >= 6) handled.scoped = kAbstractSocket | kSignal;
  const long fd = ::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (fd < 0) return failed("landlock_create_ruleset");
  return LandlockRules(static_cast<int>(fd), abi);
}

LandlockRules::LandlockRules(LandlockRules&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), abi_(other.abi_) {}

LandlockRules& LandlockRules::operator=(LandlockRules&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(abi_, other.abi_);
  return *this;
}

LandlockRules::~LandlockRules() {
  if (fd_ >= 0) ::close(fd_);
}

Result<> LandlockRules::allow(const std::filesystem::path& path, FileRights rights) const {
  const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return failed(path.native());
  const bool allowed = allow_open(fd, rights);
  const int error = errno;
  ::close(fd);
  errno = error;
  return allowed ? Result<>() : failed("landlock_add_rule");
}

bool LandlockRules::allow_open(int fd, FileRights rights) const noexcept {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return false;
  landlock_path_beneath_attr rule{.allowed_access = bits_of(rights) & rights_of(abi_),
                                  .parent_fd = fd};
  if (!S_ISDIR(info.st_mode)) rule.allowed_access &= kFileRights;
  return ::syscall(SYS_landlock_add_rule, fd_, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

bool LandlockRules::restrict_self() const noexcept {
  return ::syscall(SYS_landlock_restrict_self, fd_, 0) == 0;
}

}  // namespace glasshook::confinement
