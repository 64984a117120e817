#include "hypervisor/probe/seqpacket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "hypervisor/probe/protocol.h"

namespace glasshook::hypervisor::probe {
namespace {

constexpr std::size_t kMaxFds = 4;

}  // namespace

bool send_message(int socket, std::span<const std::byte> message, std::span<const int> fds) {
  iovec part{const_cast<std::byte*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  if (!fds.empty() && fds.size() <= kMaxFds) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  ssize_t sent = 0;
  do sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(message.size());
}

bool receive_message(int socket, std::vector<std::byte>& message, std::vector<int>* fds) {
  message.resize(kMaxMessageBytes);
  iovec part{message.data(), message.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got = 0;
  do got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  message.resize(static_cast<std::size_t>(got));
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      if (fds != nullptr)
        fds->push_back(fd);
      else
        close(fd);
    }
  }
  return true;
}

std::vector<std::byte> encode_failure(const Error& error) {
  ByteWriter out;
  out.put(static_cast<std::uint32_t>(error.code) + 1);
  out.put_text(error.message);
  out.put_text(error.remedy);
  return out.take();
}

Result<std::vector<std::byte>> decode_reply(std::span<const std::byte> message) {
  ByteReader reader(message);
  const auto status = reader.get<std::uint32_t>();
  if (!reader.ok()) return fail(ErrorCode::protocol, "the probe sent an empty reply");
  if (status == 0) {
    const auto payload = message.subspan(sizeof status);
    return std::vector<std::byte>(payload.begin(), payload.end());
  }
  Error error;
  const auto last_code = static_cast<std::uint32_t>(ErrorCode::closed);
  error.code = static_cast<ErrorCode>(std::min(status - 1, last_code));
  error.message = reader.get_text();
  error.remedy = reader.get_text();
  return std::unexpected(error);
}

}  // namespace glasshook::hypervisor::probe
