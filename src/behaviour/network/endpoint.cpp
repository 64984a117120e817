#include "behaviour/network/endpoint.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

std::string ip_text(int family, const void* address) {
  char text[INET6_ADDRSTRLEN] = {};
  return ::inet_ntop(family, address, text, sizeof text) != nullptr ? text : "";
}

Endpoint unix_endpoint(std::string_view path) {
  Endpoint end;
  end.is_unix = true;
  if (path.starts_with('\0') && path.size() > 1)
    end.path = "@" + std::string{path.substr(1)};
  else
    end.path = until_nul(path);
  return end;
}

template <class Sockaddr>
bool copy(std::string_view bytes, Sockaddr& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}

/// `ipv6_family` is what the guest calls AF_INET6.
Endpoint parse(std::string_view bytes, std::uint16_t ipv6_family) {
  std::uint16_t family = 0;
  if (!copy(bytes, family)) return {};
  if (family == AF_UNIX) return unix_endpoint(bytes.substr(offsetof(sockaddr_un, sun_path)));
  if (family == AF_INET) {
    sockaddr_in v4{};
    return copy(bytes, v4) ? ipv4_endpoint(v4.sin_addr.s_addr, ntohs(v4.sin_port)) : Endpoint{};
  }
  if (family == ipv6_family) {
    // Without the scope id an address is as good (RFC 2133 had none: the kernel takes 24 bytes).
    constexpr std::size_t kShortest = offsetof(sockaddr_in6, sin6_scope_id);
    constexpr std::size_t kAddress = offsetof(sockaddr_in6, sin6_addr);
    if (bytes.size() < kShortest) return {};
    std::uint16_t port = 0;
    std::memcpy(&port, bytes.data() + offsetof(sockaddr_in6, sin6_port), sizeof port);
    return ipv6_endpoint(bytes.substr(kAddress, 16), ntohs(port));
  }
  return {};
}

}  // namespace

Endpoint ipv4_endpoint(std::uint32_t address, std::uint16_t port) {
  return {.ip = ip_text(AF_INET, &address), .port = port, .path = {}, .is_unix = false};
}

Endpoint ipv6_endpoint(std::string_view address, std::uint16_t port) {
  constexpr std::string_view kMapped{"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12};
  if (address.size() != 16) return {};
  if (address.starts_with(kMapped)) {
    std::uint32_t inner = 0;
    std::memcpy(&inner, address.data() + kMapped.size(), sizeof inner);
    return ipv4_endpoint(inner, port);
  }
  return {.ip = ip_text(AF_INET6, address.data()), .port = port, .path = {}, .is_unix = false};
}

Endpoint parse_sockaddr(std::string_view bytes) { return parse(bytes, AF_INET6); }

Endpoint parse_windows_sockaddr(std::string_view bytes) {
  constexpr std::uint16_t kWindowsInet6 = 23;
  return parse(bytes, kWindowsInet6);
}

void add_endpoint(Event& event, const EndpointNames& names, const Endpoint& endpoint) {
  const bool unbound = endpoint.port == 0 && (endpoint.ip == "0.0.0.0" || endpoint.ip == "::");
  if (!endpoint.ip.empty() && !unbound) {
    add(event, names.ip, endpoint.ip);
    add_number(event, names.port, endpoint.port);
  }
  if (endpoint.is_unix) add_known(event, names.address, endpoint.path);
}

}  // namespace glasshook::behaviour
