#include "confinement/cage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "confinement/system_calls.h"

namespace glasshook::confinement {
namespace {

constexpr unsigned long kCloneFlags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC;

/// More likely than others to be ended when memory runs out; the monitor has its log to finish.
constexpr std::string_view kOutOfMemoryScore = "500";

bool write_file(const char* path, std::string_view text) noexcept {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return written;
}

bool limit(int resource, rlim_t value) noexcept {
  rlimit now{};
  if (::getrlimit(resource, &now) != 0) return false;
  if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value) value = now.rlim_max;
  const rlimit wanted{.rlim_cur = value, .rlim_max = value};
  return ::setrlimit(resource, &wanted) == 0;
}

}  // namespace

Result<Cage> Cage::prepare(const CageNeeds& needs) {
  Cage cage;
  cage.threads_ = needs.threads;
  if (!needs.keeps_user) cage.user_ = OwnUser::claim();
  if (::geteuid() == 0 && !cage.user_) cage.left_out_ |= kUser;
  if (::geteuid() != 0) {
    cage.user_map_ = fmt::format("{0} {0} 1\n", ::geteuid());
    cage.group_map_ = fmt::format("{0} {0} 1\n", ::getegid());
  }
  auto rules = LandlockRules::create(true);
  if (!rules && rules.error().code != ErrorCode::unsupported) return std::unexpected(rules.error());
  if (rules) {
    for (const CageNeeds::Path& need : needs.paths) {
      if (::access(need.path.c_str(), F_OK) != 0) continue;
      if (auto ok = rules->allow(need.path, need.rights); !ok) return std::unexpected(ok.error());
    }
    for (const int file : needs.files)
      if (!rules->allow_open(file, FileRights::read))
        return fail(ErrorCode::io, "landlock_add_rule: {}", std::strerror(errno));
    cage.rules_ = std::move(*rules);
  }
  auto filter = caged_filter();
  if (!filter && filter.error().code != ErrorCode::unsupported)
    return std::unexpected(filter.error());
  if (filter) cage.filter_ = std::move(*filter);
  return cage;
}

std::optional<uid_t> Cage::user() const {
  return user_ ? std::optional(user_->id()) : std::nullopt;
}

pid_t Cage::fork_into() noexcept {
  const auto clone_with = [](unsigned long flags) {
    return static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
  };
  const bool maps_user = !user_map_.empty();
  namespaces_ = kCloneFlags;
  if (maps_user) namespaces_ |= CLONE_NEWUSER;
  const pid_t child = clone_with(namespaces_);
  if (child >= 0 || errno == EAGAIN || errno == ENOMEM) return child;
  namespaces_ = 0;
  left_out_ |= kNamespaces;
  if (maps_user) left_out_ |= kUser;
  return clone_with(0);
}

std::uint32_t Cage::enter() const noexcept {
  std::uint32_t failed = 0;
  const auto put_up = [&](Wall wall, bool stands) {
    if (!stands) failed |= wall;
  };
  if ((namespaces_ & CLONE_NEWUSER) != 0) put_up(kUser, map_user());
  put_up(kLimits, limit_resources());
  // Without CAP_SETPCAP the bounding set stays; no_new_privs keeps it from being used.
  for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;) ++capability;
  if (user_) put_up(kUser, become_user());
  put_up(kPrivileges, drop_privileges());
  put_up(kLandlock, close_files());
  put_up(kSeccomp, filter_calls());
  return failed;
}

/// The user and group it was, and no others. What may be written is in user_namespaces(7).
bool Cage::map_user() const noexcept {
  return write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", user_map_) &&
         write_file("/proc/self/gid_map", group_map_);
}

/// System calls, since the C library's functions would look for other threads.
bool Cage::become_user() const noexcept {
  const uid_t id = user_->id();
  return ::syscall(SYS_setgroups, 0, nullptr) == 0 && ::syscall(SYS_setresgid, id, id, id) == 0 &&
         ::syscall(SYS_setresuid, id, id, id) == 0;
}

bool Cage::drop_privileges() const noexcept {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct none[2] = {};
  const bool dropped = ::syscall(SYS_capset, &header, none) == 0;
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && dropped;
}

bool Cage::limit_resources() const noexcept {
  constexpr rlim_t kDescriptors = 1024;
  const bool limited = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, kDescriptors) &&
                       limit(RLIMIT_MSGQUEUE, 0) && limit(RLIMIT_MEMLOCK, 0);
  // Counted for the user, who in other cases has more to run than this.
  return limited && (!user_ || limit(RLIMIT_NPROC, threads_)) &&
         write_file("/proc/self/oom_score_adj", kOutOfMemoryScore);
}

bool Cage::close_files() const noexcept {
  if (!rules_) return false;
  // Its own entries, which have no other name before it runs. The open descriptor keeps them from
  // being forgotten with the rule on them.
  const int self = ::open("/proc/self", O_PATH | O_DIRECTORY);
  return self >= 0 && rules_->allow_open(self, FileRights::read) && rules_->restrict_self();
}

bool Cage::filter_calls() const noexcept {
  if (filter_.empty()) return false;
  const sock_fprog program{.len = static_cast<unsigned short>(filter_.size()),
                           .filter = const_cast<sock_filter*>(filter_.data())};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

std::vector<std::string> Cage::missing(std::uint32_t not_put_up) const {
  struct Name {
    Wall wall;
    const char* text;
  };
  constexpr std::array kNames{Name{kUser, "user of its own"},
                              Name{kNamespaces, "namespaces of its own"},
                              Name{kLandlock, "Landlock"},
                              Name{kSeccomp, "seccomp filter of ours"},
                              Name{kPrivileges, "dropped privileges"},
                              Name{kLimits, "resource limits"}};
  std::vector<std::string> names;
  for (const Name& name : kNames)
    if (((left_out_ | not_put_up) & name.wall) != 0) names.emplace_back(name.text);
  return names;
}

}  // namespace glasshook::confinement
