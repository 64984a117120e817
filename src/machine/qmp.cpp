#include "machine/qmp.h"

#include <fcntl.h>
#include <poll.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

namespace glasshook::machine {
namespace {

std::unexpected<Error> timed_out(std::string_view what) {
  return fail(ErrorCode::timeout, "QEMU did not answer in time ({})", what);
}

/// Waits until the socket is ready for `events`; false at the deadline.
Result<bool> wait_ready(int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, poll_timeout(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return fail(ErrorCode::io, "poll: {}", std::strerror(errno));
    if (Clock::now() >= deadline) return false;
  }
}

std::string text_member(const rapidjson::Value& object, const char* name) {
  if (!object.IsObject()) return {};
  const auto member = object.FindMember(name);
  if (member == object.MemberEnd() || !member->value.IsString()) return {};
  return {member->value.GetString(), member->value.GetStringLength()};
}

}  // namespace

std::string json_quoted(std::string_view text) {
  rapidjson::StringBuffer out;
  rapidjson::Writer<rapidjson::StringBuffer> writer(out);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return out.GetString();
}

std::string QmpEvent::text(const char* member) const { return text_member(data, member); }

Result<std::unique_ptr<QmpClient>> QmpClient::connect(const std::filesystem::path& socket,
                                                      Deadline deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = socket.native();
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid_argument, "socket path is too long: {}", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  for (;;) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return fail(ErrorCode::io, "socket: {}", std::strerror(errno));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return adopt(std::move(fd), deadline);
    const int error = errno;
    if ((error != ENOENT && error != ECONNREFUSED) || Clock::now() >= deadline)
      return fail(ErrorCode::not_found, "cannot connect to {}: {}", path, std::strerror(error));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Result<std::unique_ptr<QmpClient>> QmpClient::adopt(UniqueFd socket, Deadline deadline) {
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return fail(ErrorCode::io, "QMP socket: {}", std::strerror(errno));
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(socket)));
  auto greeting = client->read_message(deadline);
  if (!greeting) return std::unexpected(greeting.error());
  if (!greeting->IsObject() || !greeting->HasMember("QMP"))
    return fail(ErrorCode::protocol, "this socket does not speak QMP");
  auto ready = client->execute("qmp_capabilities", "", deadline);
  if (!ready) return std::unexpected(ready.error());
  return client;
}

Result<rapidjson::Document> QmpClient::execute(std::string_view command, std::string_view arguments,
                                               Deadline deadline) {
  if (auto sent = send(request(command, arguments), deadline); !sent)
    return std::unexpected(sent.error());
  return wait_reply(command, deadline);
}

Result<std::string> QmpClient::give_file(int fd, Deadline deadline) {
  if (auto sent = send_with_file(request("add-fd", ""), fd); !sent)
    return std::unexpected(sent.error());
  const auto added = wait_reply("add-fd", deadline);
  if (!added) return std::unexpected(added.error());
  const auto set = added->IsObject() ? added->FindMember("fdset-id") : added->MemberEnd();
  if (!added->IsObject() || set == added->MemberEnd() || !set->value.IsInt64())
    return fail(ErrorCode::protocol, "QEMU does not say under which name it has a file");
  return fmt::format("/dev/fdset/{}", set->value.GetInt64());
}

/// The bytes of a command with a new id.
std::string QmpClient::request(std::string_view command, std::string_view arguments) {
  std::string text = fmt::format(R"({{"execute":{},"id":{})", json_quoted(command), ++last_id_);
  if (!arguments.empty()) text += fmt::format(R"(,"arguments":{})", arguments);
  return text + "}\r\n";
}

/// The result of the last request.
Result<rapidjson::Document> QmpClient::wait_reply(std::string_view command, Deadline deadline) {
  for (;;) {
    auto message = read_message(deadline);
    if (!message) {
      if (message.error().code == ErrorCode::timeout) return timed_out(command);
      return std::unexpected(message.error());
    }
    if (message->HasMember("event")) {
      queue_event(*message);
      continue;
    }
    const auto answered = message->FindMember("id");
    if (answered == message->MemberEnd() || !answered->value.IsUint64() ||
        answered->value.GetUint64() != last_id_)
      continue;  // the answer to a command whose deadline passed
    if (const auto error = message->FindMember("error"); error != message->MemberEnd())
      return fail(ErrorCode::io, "{}: {}", command, text_member(error->value, "desc"));
    const auto value = message->FindMember("return");
    if (value == message->MemberEnd())
      return fail(ErrorCode::protocol, "QEMU answered {} without a result", command);
    rapidjson::Document result;
    result.CopyFrom(value->value, result.GetAllocator());
    return result;
  }
}

Result<std::optional<QmpEvent>> QmpClient::next_event(Deadline deadline) {
  while (events_.empty()) {
    auto message = read_message(deadline);
    if (!message) {
      if (message.error().code == ErrorCode::timeout) return std::optional<QmpEvent>();
      return std::unexpected(message.error());
    }
    if (message->HasMember("event")) queue_event(*message);
  }
  std::optional<QmpEvent> event(std::move(events_.front()));
  events_.pop_front();
  return event;
}

void QmpClient::queue_event(const rapidjson::Document& message) {
  QmpEvent event;
  event.name = text_member(message, "event");
  if (const auto data = message.FindMember("data"); data != message.MemberEnd())
    event.data.CopyFrom(data->value, event.data.GetAllocator());
  if (events_.size() == kMaxEvents) events_.pop_front();
  events_.push_back(std::move(event));
}

Result<rapidjson::Document> QmpClient::read_message(Deadline deadline) {
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos) {
      searched_ = buffer_.size();
      if (auto more = fill(deadline); !more) return std::unexpected(more.error());
      continue;
    }
    rapidjson::Document message;
    message.Parse<rapidjson::kParseIterativeFlag>(buffer_.data(), end);
    buffer_.erase(0, end + 1);
    searched_ = 0;
    if (message.HasParseError() || !message.IsObject())
      return fail(ErrorCode::protocol, "QEMU sent a message that is not a JSON object");
    return message;
  }
}

Result<> QmpClient::fill(Deadline deadline) {
  if (buffer_.size() > kMaxMessage)
    return fail(ErrorCode::protocol, "QEMU sent a message of more than {} bytes", kMaxMessage);
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (got > 0) {
      buffer_.append(chunk.data(), static_cast<std::size_t>(got));
      return {};
    }
    if (got == 0 || errno == ECONNRESET)
      return fail(ErrorCode::closed, "QEMU closed its control connection");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(ErrorCode::io, "QMP: {}", std::strerror(errno));
    const auto ready = wait_ready(socket_.get(), POLLIN, deadline);
    if (!ready) return std::unexpected(ready.error());
    if (!*ready) return timed_out("waiting for a message");
  }
}

Result<> QmpClient::send(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
      continue;
    }
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno != EAGAIN)
      return fail(ErrorCode::closed, "QEMU closed its control connection");
    const auto ready = wait_ready(socket_.get(), POLLOUT, deadline);
    if (!ready) return std::unexpected(ready.error());
    if (!*ready) return timed_out("sending");
  }
  return {};
}

/// A command short enough to be sent whole.
Result<> QmpClient::send_with_file(std::string_view bytes, int fd) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  if (::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    return fail(ErrorCode::io, "cannot give QEMU a file: {}", std::strerror(errno));
  return {};
}

}  // namespace glasshook::machine
