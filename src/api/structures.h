// Structures of the guest, shown: declared layouts, and the few that need code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "api/vocabulary.h"

namespace glasshook::api {

/// A socket address; fields that its family lacks are empty or 0.
struct SocketAddress {
  std::uint16_t family = 0;
  std::string ip;  ///< AF_INET, AF_INET6: numeric
  std::uint16_t port = 0;
  std::string path;          ///< AF_UNIX: raw bytes; abstract names without their leading NUL
  bool is_abstract = false;  ///< AF_UNIX
};

/// Reads a `struct sockaddr` of any family. Empty when the bytes are too few.
[[nodiscard]] std::optional<SocketAddress> parse_socket_address(std::span<const std::byte> bytes);

/// `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@abstract`, or the family.
[[nodiscard]] std::string to_text(const Vocabulary& vocabulary, const SocketAddress& address);

/// Adds the structures that are shown by code: sockaddr, wait_status.
void add_builtin_structures(Vocabulary& vocabulary);

/// True when a length given for such a structure counts bytes, not elements (sockaddr).
[[nodiscard]] bool is_counted_in_bytes(std::string_view structure);

/// Structures one behind the other: `{a=1, b=2}`, `[3]`, `[{...}, {...}]`. What the bytes do not
/// cover is left out with `...`.
[[nodiscard]] std::string show_structures(const Vocabulary& vocabulary,
                                          const StructureLayout& layout,
                                          std::span<const std::byte> bytes);

}  // namespace glasshook::api
