// Names of BPF program types.
#pragma once

#include <cstdint>
#include <string>

namespace glasshook::behaviour {

/// "kprobe", "xdp", ... (enum bpf_prog_type in include/uapi/linux/bpf.h); "type 99" for new ones.
[[nodiscard]] std::string bpf_type_name(std::uint64_t type);

}  // namespace glasshook::behaviour
