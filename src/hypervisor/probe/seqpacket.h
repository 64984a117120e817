// Messages with descriptors over a SOCK_SEQPACKET unix socket.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace glasshook::hypervisor::probe {

/// Sends one message whole; false when the peer is gone.
[[nodiscard]] bool send_message(int socket, std::span<const std::byte> message,
                                std::span<const int> fds);

/// Receives one message. `fds` (may be null: descriptors are then refused) receives the descriptors
/// that came along, owned by the caller. False when the peer is gone.
[[nodiscard]] bool receive_message(int socket, std::vector<std::byte>& message,
                                   std::vector<int>* fds);

/// A reply that carries an Error, and its reader: the payload of a good reply, or the error.
[[nodiscard]] std::vector<std::byte> encode_failure(const Error& error);
[[nodiscard]] Result<std::vector<std::byte>> decode_reply(std::span<const std::byte> message);

}  // namespace glasshook::hypervisor::probe
