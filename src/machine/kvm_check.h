// Whether KVM works here, found out by running a few instructions under it, and what watching
// needs besides.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "base/unique_fd.h"

namespace glasshook::machine {

/// Runs a tiny guest in 64-bit mode with a hardware breakpoint, as watching needs it. Fails with
/// why guests cannot be watched under KVM on this machine, and what to do about it. Takes
/// milliseconds, at most some seconds. `device` is /dev/kvm.
[[nodiscard]] Result<> check_kvm(const std::filesystem::path& device = "/dev/kvm");

/// The device by which a caged QEMU learns at once that its guest writes to hooked code. Fails with
/// why it cannot be opened, and what to do about it. `device` is /dev/userfaultfd.
[[nodiscard]] Result<UniqueFd> open_userfaultfd(
    const std::filesystem::path& device = "/dev/userfaultfd");

}  // namespace glasshook::machine
