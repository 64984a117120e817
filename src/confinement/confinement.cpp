#include "confinement/confinement.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "confinement/landlock.h"
#include "confinement/own_user.h"
#include "confinement/system_calls.h"

namespace glasshook::confinement {

namespace {

Error failed(std::string_view what) {
  return fail(ErrorCode::io, "{}: {}", what, std::strerror(errno)).error();
}

/// False when this kernel has no Landlock.
Result<bool> close_file_system() {
  const auto rules = LandlockRules::create(false);
  if (!rules && rules.error().code == ErrorCode::unsupported) return false;
  if (!rules) return std::unexpected(rules.error());
  if (!rules->restrict_self()) return std::unexpected(failed("landlock_restrict_self"));
  return true;
}

/// Private writable memory, as RLIMIT_DATA counts it (VmData in proc_pid_status(5)); bytes.
std::uint64_t memory_in_use() {
  std::ifstream status("/proc/self/status");
  std::uint64_t kib = 0;
  for (std::string word; status >> word;)
    if (word == "VmData:" && status >> kib) break;
  return kib << 10;
}

Result<> limit(int resource, rlim_t value) {
  const rlimit both{.rlim_cur = value, .rlim_max = value};
  if (::setrlimit(resource, &both) != 0) return std::unexpected(failed("setrlimit"));
  return {};
}

/// No core file with guest data in it. Whom a guest makes waste memory ends, and the guest goes on.
/// Threads need no limit: they come out of the memory.
Result<> limit_resources() {
  constexpr rlim_t kDescriptors = 256;
  if (auto ok = limit(RLIMIT_CORE, 0); !ok) return ok;
  if (auto ok = limit(RLIMIT_NOFILE, kDescriptors); !ok) return ok;
  return limit(RLIMIT_DATA, memory_in_use() + kMostMemory);
}

/// Root becomes a user that owns nothing. What is left of its rights is to end its child, which is
/// another user's; with the calling thread, with whose end the child ends too. False when it stays
/// root.
bool become_own_user(bool has_child) {
  static std::optional<OwnUser> user;  // as long as the process lives
  if (!user) user = OwnUser::claim();
  if (!user) return false;
  const uid_t id = user->id();
  for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;) ++capability;
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // These functions work on all threads; capabilities are kept by this one only.
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || ::setgroups(0, nullptr) != 0 ||
      ::setresgid(id, id, id) != 0 || ::setresuid(id, id, id) != 0)
    return false;
  const std::uint32_t kept = has_child ? 1u << CAP_KILL : 0;
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct rights[2] = {
      {.effective = kept, .permitted = kept, .inheritable = 0}, {}};
  return ::syscall(SYS_capset, &header, rights) == 0;
}

}  // namespace

Result<std::vector<std::string>> confine(pid_t child) {
  std::vector<std::string> missing;
  if (auto ok = limit_resources(); !ok) return std::unexpected(ok.error());
  if (::geteuid() == 0 && !become_own_user(child > 0)) missing.emplace_back("user of its own");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return std::unexpected(failed("no_new_privs"));
  const auto closed = close_file_system();
  if (!closed) return std::unexpected(closed.error());
  if (!*closed) missing.emplace_back("Landlock");
  if (auto ok = filter_system_calls(child); !ok) {
    if (ok.error().code != ErrorCode::unsupported) return std::unexpected(ok.error());
    missing.emplace_back("seccomp");
  }
  return missing;
}

}  // namespace glasshook::confinement
