#include "behaviour/kernel/bpf_types.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace glasshook::behaviour {

std::string bpf_type_name(std::uint64_t type) {
  static constexpr auto kNames = std::to_array<std::string_view>({"unspecified",
                                                                  "socket_filter",
                                                                  "kprobe",
                                                                  "sched_cls",
                                                                  "sched_act",
                                                                  "tracepoint",
                                                                  "xdp",
                                                                  "perf_event",
                                                                  "cgroup_skb",
                                                                  "cgroup_sock",
                                                                  "lwt_in",
                                                                  "lwt_out",
                                                                  "lwt_xmit",
                                                                  "sock_ops",
                                                                  "sk_skb",
                                                                  "cgroup_device",
                                                                  "sk_msg",
                                                                  "raw_tracepoint",
                                                                  "cgroup_sock_addr",
                                                                  "lwt_seg6local",
                                                                  "lirc_mode2",
                                                                  "sk_reuseport",
                                                                  "flow_dissector",
                                                                  "cgroup_sysctl",
                                                                  "raw_tracepoint_writable",
                                                                  "cgroup_sockopt",
                                                                  "tracing",
                                                                  "struct_ops",
                                                                  "ext",
                                                                  "lsm",
                                                                  "sk_lookup",
                                                                  "syscall",
                                                                  "netfilter"});
  return type < kNames.size() ? std::string{kNames[type]} : fmt::format("type {}", type);
}

}  // namespace glasshook::behaviour
