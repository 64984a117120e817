#include "behaviour/network/socket_view.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

enum Sock {
  kSockAddress,
  kSockFamily,
  kSockType,
  kSockLocalPort,
  kSockRemotePort,
  kSockLocal4,
  kSockRemote4,
  kSockLocal6,
  kSockRemote6,
  kSockCount
};
static_assert(kSockCount == kSocketCaptures);

}  // namespace

std::vector<hook::Capture> socket_captures(const std::string& sock) {
  const std::string common = "(" + sock + ")->__sk_common.";
  return {word("sock", sock),
          word("family", common + "skc_family"),
          word("type", "(" + sock + ")->sk_type"),
          word("local_port", common + "skc_num"),     // host order
          word("remote_port", common + "skc_dport"),  // network order
          word("local_ip", common + "skc_rcv_saddr"),
          word("remote_ip", common + "skc_daddr"),
          bytes("local_ip6", "&" + common + "skc_v6_rcv_saddr ?? 0", "16", 16),
          bytes("remote_ip6", "&" + common + "skc_v6_daddr ?? 0", "16", 16)};
}

SocketView socket_view(const Call& call, std::size_t first) {
  const auto number = [&](Sock what) { return call.word(first + what); };
  const auto local_port = static_cast<std::uint16_t>(number(kSockLocalPort));
  const std::uint16_t remote_port = ntohs(static_cast<std::uint16_t>(number(kSockRemotePort)));
  SocketView view;
  view.address = number(kSockAddress);
  view.datagram = number(kSockType) == SOCK_DGRAM;
  if (number(kSockFamily) == AF_INET6) {
    view.local = ipv6_endpoint(call.text(first + kSockLocal6), local_port);
    view.remote = ipv6_endpoint(call.text(first + kSockRemote6), remote_port);
  } else if (number(kSockFamily) == AF_INET) {
    view.local = ipv4_endpoint(static_cast<std::uint32_t>(number(kSockLocal4)), local_port);
    view.remote = ipv4_endpoint(static_cast<std::uint32_t>(number(kSockRemote4)), remote_port);
  }
  return view;
}

}  // namespace glasshook::behaviour
