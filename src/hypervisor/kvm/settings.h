// What GLASSHOOK_KVM tells the library that is loaded into QEMU.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace glasshook::hypervisor::kvm {

/// Exactly one of `socket` and `fd` is given. Descriptors are inherited, and ours from now on.
struct Settings {
  std::string socket;          ///< the path to be attached at
  int fd = -1;                 ///< an end of a SOCK_SEQPACKET socket pair, to be attached over
  int userfaultfd = -1;        ///< /dev/userfaultfd, for a QEMU that may not open it
  std::uint64_t ring_mib = 8;  ///< one vCPU's, 1 to 1024
};

/// socket=PATH or fd=NUMBER, then ring=MIB and userfaultfd=NUMBER as wanted; commas between.
[[nodiscard]] Result<Settings> parse_settings(std::string_view text);

}  // namespace glasshook::hypervisor::kvm
