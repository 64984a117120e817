// The question of a DNS message (RFC 1035), from bytes that nobody vouches for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace glasshook::behaviour {

struct DnsQuestion {
  std::uint16_t id = 0;
  std::string name;  ///< labels with dots between, no dot at the end; "." is the root. Raw bytes
  std::string type;  ///< "A", "AAAA", "TYPE1234"
};

/// The first question of a query; empty when the bytes are no well-formed query (answers, names
/// over 255 bytes, labels over 63, pointers and cut messages are refused).
[[nodiscard]] std::optional<DnsQuestion> parse_dns_question(std::string_view message);

}  // namespace glasshook::behaviour
