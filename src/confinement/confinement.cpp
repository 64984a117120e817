#include "confinement/confinement.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "confinement/landlock.h"
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

/// No core file with guest data in it; no new descriptors without bound.
Result<> limit_resources() {
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return std::unexpected(failed("setrlimit"));
  return {};
}

}  // namespace

Result<std::vector<std::string>> confine() {
  std::vector<std::string> missing;
  if (auto ok = limit_resources(); !ok) return std::unexpected(ok.error());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return std::unexpected(failed("no_new_privs"));
  const auto closed = close_file_system();
  if (!closed) return std::unexpected(closed.error());
  if (!*closed) missing.emplace_back("Landlock");
  if (auto ok = filter_system_calls(); !ok) {
    if (ok.error().code != ErrorCode::unsupported) return std::unexpected(ok.error());
    missing.emplace_back("seccomp");
  }
  return missing;
}

}  // namespace glasshook::confinement
