#include "behaviour/process/capabilities.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace glasshook::behaviour {

std::vector<std::string> capability_names(std::uint64_t set) {
  static constexpr auto kNames = std::to_array<std::string_view>({"CHOWN",
                                                                  "DAC_OVERRIDE",
                                                                  "DAC_READ_SEARCH",
                                                                  "FOWNER",
                                                                  "FSETID",
                                                                  "KILL",
                                                                  "SETGID",
                                                                  "SETUID",
                                                                  "SETPCAP",
                                                                  "LINUX_IMMUTABLE",
                                                                  "NET_BIND_SERVICE",
                                                                  "NET_BROADCAST",
                                                                  "NET_ADMIN",
                                                                  "NET_RAW",
                                                                  "IPC_LOCK",
                                                                  "IPC_OWNER",
                                                                  "SYS_MODULE",
                                                                  "SYS_RAWIO",
                                                                  "SYS_CHROOT",
                                                                  "SYS_PTRACE",
                                                                  "SYS_PACCT",
                                                                  "SYS_ADMIN",
                                                                  "SYS_BOOT",
                                                                  "SYS_NICE",
                                                                  "SYS_RESOURCE",
                                                                  "SYS_TIME",
                                                                  "SYS_TTY_CONFIG",
                                                                  "MKNOD",
                                                                  "LEASE",
                                                                  "AUDIT_WRITE",
                                                                  "AUDIT_CONTROL",
                                                                  "SETFCAP",
                                                                  "MAC_OVERRIDE",
                                                                  "MAC_ADMIN",
                                                                  "SYSLOG",
                                                                  "WAKE_ALARM",
                                                                  "BLOCK_SUSPEND",
                                                                  "AUDIT_READ",
                                                                  "PERFMON",
                                                                  "BPF",
                                                                  "CHECKPOINT_RESTORE"});
  std::vector<std::string> names;
  for (std::size_t bit = 0; bit < 64; ++bit) {
    if ((set >> bit & 1) == 0) continue;
    names.push_back(bit < kNames.size() ? fmt::format("CAP_{}", kNames[bit])
                                        : fmt::format("CAP_{}", bit));
  }
  return names;
}

}  // namespace glasshook::behaviour
