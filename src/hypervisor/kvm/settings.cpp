#include "hypervisor/kvm/settings.h"

#include <algorithm>
#include <charconv>

namespace glasshook::hypervisor::kvm {
namespace {

/// Whether the option is `name` and a number, which is then in `out`.
bool is_number(std::string_view option, std::string_view name, auto& out) {
  if (!option.starts_with(name)) return false;
  const char* end = option.data() + option.size();
  const auto [stop, error] = std::from_chars(option.data() + name.size(), end, out);
  return error == std::errc() && stop == end;
}

bool take(std::string_view option, Settings& out) {
  constexpr std::string_view kSocket = "socket=";
  if (option.starts_with(kSocket)) {
    out.socket = option.substr(kSocket.size());
    return true;
  }
  return is_number(option, "fd=", out.fd) || is_number(option, "ring=", out.ring_mib) ||
         is_number(option, "userfaultfd=", out.userfaultfd);
}

}  // namespace

Result<Settings> parse_settings(std::string_view text) {
  constexpr std::uint64_t kMaxRingMib = 1024;
  Settings out;
  bool known = true;
  for (std::string_view rest = text; !rest.empty();) {
    const auto comma = std::min(rest.find(','), rest.size());
    known &= take(rest.substr(0, comma), out);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  if (!known || out.socket.empty() == (out.fd < 0) || out.ring_mib < 1 ||
      out.ring_mib > kMaxRingMib)
    return fail(ErrorCode::invalid_argument,
                "GLASSHOOK_KVM is socket=PATH[,ring=MIB]; this VM cannot be watched");
  return out;
}

}  // namespace glasshook::hypervisor::kvm
