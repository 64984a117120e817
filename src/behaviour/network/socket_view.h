// A `struct sock` as captured: which fields to ask for and what they mean.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "behaviour/family.h"
#include "behaviour/network/endpoint.h"

namespace glasshook::behaviour {

struct SocketView {
  std::uint64_t address = 0;  ///< of the struct sock
  bool datagram = false;
  Endpoint local, remote;

  [[nodiscard]] std::string_view transport() const { return datagram ? "udp" : "tcp"; }
};

/// Captures for the socket that the expression points to.
[[nodiscard]] std::vector<hook::Capture> socket_captures(const std::string& sock);
inline constexpr std::size_t kSocketCaptures = 9;

/// Reads them back from capture `first` on.
[[nodiscard]] SocketView socket_view(const Call& call, std::size_t first);

}  // namespace glasshook::behaviour
