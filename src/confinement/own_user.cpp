#include "confinement/own_user.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace glasshook::confinement {
namespace {

/// Whether this process is root with the rights that takes, here or in its container.
bool may_change_user() {
  if (::geteuid() != 0) return false;
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  constexpr std::uint32_t kNeeded = 1u << CAP_SETUID | 1u << CAP_SETGID;
  return (data[0].effective & kNeeded) == kNeeded;
}

/// Whether the id means anything in this process's user namespace.
bool is_mapped(uid_t id) {
  std::FILE* file = std::fopen("/proc/self/uid_map", "re");
  if (file == nullptr) return false;
  unsigned long inside = 0, outside = 0, count = 0;
  bool found = false;
  while (!found && std::fscanf(file, "%lu %lu %lu", &inside, &outside, &count) == 3)
    found = id >= inside && id - inside < count;
  std::fclose(file);
  return found;
}

/// A socket with the id's abstract name, which one process at a time can have; -1 when it is taken.
int lock_name(uid_t id) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const int length =
      std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "glasshook-user-%u", id);
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                           static_cast<std::size_t>(length));
  if (fd >= 0 && ::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

}  // namespace

std::optional<OwnUser> OwnUser::claim() {
  if (!may_change_user() || !is_mapped(kFirst) || !is_mapped(kLast)) return std::nullopt;
  constexpr uid_t kCount = kLast - kFirst + 1;
  std::uint32_t start = 0;
  if (::getrandom(&start, sizeof start, 0) != sizeof start) start = 0;
  for (uid_t i = 0; i < kCount; ++i) {
    const uid_t id = kFirst + (start + i) % kCount;
    if (const int lock = lock_name(id); lock >= 0) return OwnUser(id, lock);
  }
  return std::nullopt;
}

OwnUser::OwnUser(OwnUser&& other) noexcept
    : id_(other.id_), lock_(std::exchange(other.lock_, -1)) {}

OwnUser& OwnUser::operator=(OwnUser&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(lock_, other.lock_);
  return *this;
}

OwnUser::~OwnUser() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace glasshook::confinement
