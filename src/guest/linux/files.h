// Open files and sockets of a task.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/linux/kernel.h"
#include "guest/linux/listing.h"
#include "guest/linux/path.h"

namespace glasshook::linux_guest {

/// Descriptors beyond this are not looked at.
inline constexpr std::uint32_t kMaxDescriptors = 65536;

/// One end of a socket.
struct SocketAddress {
  std::string address;     ///< "127.0.0.1", "::1"; empty when not of an Internet family
  std::uint16_t port = 0;  ///< host byte order
};

struct SocketInfo {
  std::uint16_t family = 0;    ///< AF_*
  std::uint16_t type = 0;      ///< SOCK_*
  std::uint16_t protocol = 0;  ///< IPPROTO_*
  std::uint8_t state = 0;      ///< TCP_* (include/net/tcp_states.h), used by AF_UNIX too
  SocketAddress local, remote;
  std::string unix_path;  ///< AF_UNIX: raw bytes; begins with NUL when abstract

  /// "ESTABLISHED", "LISTEN", ... or "UNCONNECTED" for what is not TCP.
  [[nodiscard]] std::string_view state_name() const;
};

struct OpenFile {
  std::uint32_t descriptor = 0;
  Gva file;  ///< struct file
  FilePath path;
  std::uint32_t flags = 0;       ///< O_*
  std::uint32_t inode_mode = 0;  ///< S_IF* and permissions
  std::optional<SocketInfo> socket;
};

/// Open files of a task in descriptor order, paths as its own root shows them.
[[nodiscard]] Result<Listing<OpenFile>> open_files(const LinuxKernel& kernel, Gva task);

/// The socket behind a `struct file`, empty when it is something else.
[[nodiscard]] std::optional<SocketInfo> socket_of_file(const LinuxKernel& kernel, Gva file);

/// A `struct sock`.
[[nodiscard]] std::optional<SocketInfo> read_sock(const LinuxKernel& kernel, Gva sock);

}  // namespace glasshook::linux_guest
