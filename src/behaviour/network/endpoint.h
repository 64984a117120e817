// Socket addresses from guest memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "behaviour/event.h"

namespace glasshook::behaviour {

/// One end of a connection.
struct Endpoint {
  std::string ip;  ///< "10.0.2.2", "fe80::1"; empty for Unix sockets
  std::uint16_t port = 0;
  std::string path;  ///< Unix sockets: path, "@name" for abstract ones; empty when unnamed
  bool is_unix = false;

  bool operator==(const Endpoint&) const = default;
  [[nodiscard]] bool known() const { return is_unix || !ip.empty(); }
  [[nodiscard]] bool is_ipv6() const { return ip.contains(':'); }
};

/// A `struct sockaddr` as the kernel copied it: AF_INET, AF_INET6 (IPv4 inside IPv6 is shown as
/// IPv4) or AF_UNIX. Anything else, or too short, gives an unknown endpoint.
[[nodiscard]] Endpoint parse_sockaddr(std::string_view bytes);

/// The same of Windows, which gives AF_INET6 another number (winsock2.h).
[[nodiscard]] Endpoint parse_windows_sockaddr(std::string_view bytes);

/// `address` holds the bytes in network order.
[[nodiscard]] Endpoint ipv4_endpoint(std::uint32_t address, std::uint16_t port);
/// `address` has 16 bytes, else the endpoint is unknown.
[[nodiscard]] Endpoint ipv6_endpoint(std::string_view address, std::uint16_t port);

/// Field names of one end in ECS.
struct EndpointNames {
  std::string_view ip, port, address;
};
inline constexpr EndpointNames kSource = {"source.ip", "source.port", "source.address"};
inline constexpr EndpointNames kDestination = {"destination.ip", "destination.port",
                                               "destination.address"};
inline constexpr EndpointNames kServer = {"server.ip", "server.port", "server.address"};

/// Adds what is known of an endpoint; a socket bound to nothing has none.
void add_endpoint(Event& event, const EndpointNames& names, const Endpoint& endpoint);

}  // namespace glasshook::behaviour
