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

/// Whose numbers address families have: they differ for IPv6. `family` is Linux's in any case.
enum class SocketPlatform : std::uint8_t { linux, windows };

/// Reads a `struct sockaddr` of any family. Empty when the bytes are too few.
[[nodiscard]] std::optional<SocketAddress> parse_socket_address(
    std::span<const std::byte> bytes, SocketPlatform platform = SocketPlatform::linux);

/// `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@abstract`, or the family.
[[nodiscard]] std::string to_text(const Vocabulary& vocabulary, const SocketAddress& address);

/// Adds the structures that are shown by code: sockaddr, wait_status; SOCKADDR, GUID, SID.
void add_builtin_structures(Vocabulary& vocabulary);

/// True when a length given for such a structure counts bytes, not elements (sockaddr).
[[nodiscard]] bool is_counted_in_bytes(std::string_view structure);

/// True for a structure with one field and perhaps its length, which is shown as that field
/// (UNICODE_STRING).
[[nodiscard]] bool is_single_value(const StructureLayout& layout);

/// What was captured behind pointers in structures.
class Pointees {
 public:
  virtual ~Pointees() = default;
  /// What the pointer at `offset` in the structure of entry `parent` (NestedData) leads to, as
  /// text; empty when it was not captured.
  [[nodiscard]] virtual std::string show(int parent, std::uint32_t offset) const = 0;
};

/// Which captured structure is being shown, so that its pointers can be looked up.
struct PointerContext {
  const Pointees* pointees = nullptr;  ///< null: pointers are shown as addresses
  int parent = -1;
  std::uint32_t base = 0;  ///< of the structure shown, in the one captured
  int depth = 0;           ///< of structures in structures
};

/// Structures one behind the other: `{a=1, b=2}`, `[3]`, `[{...}, {...}]`. What the bytes do not
/// cover is left out with `...`.
[[nodiscard]] std::string show_structures(const Vocabulary& vocabulary,
                                          const StructureLayout& layout,
                                          std::span<const std::byte> bytes,
                                          PointerContext context = {});

}  // namespace glasshook::api
