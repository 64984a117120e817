// Whether KVM works here, found out by running a few instructions under it.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace glasshook::machine {

/// Runs a tiny guest in 64-bit mode with a hardware breakpoint, as watching needs it. Fails with
/// why guests cannot be watched under KVM on this machine, and what to do about it. Takes
/// milliseconds, at most some seconds. `device` is /dev/kvm.
[[nodiscard]] Result<> check_kvm(const std::filesystem::path& device = "/dev/kvm");

}  // namespace glasshook::machine
