// QEMU Machine Protocol: commands to and events from a running QEMU over a unix socket.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "machine/deadline.h"

namespace glasshook::machine {

/// An event QEMU announced: "STOP", "SHUTDOWN", "RESET", "GUEST_PANICKED", "MIGRATION", ...
struct QmpEvent {
  std::string name;
  rapidjson::Document data;  ///< an object, or null when the event carries none

  /// Text member of the data; empty when absent.
  [[nodiscard]] std::string text(const char* member) const;
};

/// One QMP connection. Used from one thread. No call waits past its deadline.
class QmpClient {
 public:
  /// Longest message accepted; larger ones are a protocol error.
  static constexpr std::size_t kMaxMessage = std::size_t{8} << 20;
  /// Events kept until they are asked for; beyond that the oldest are forgotten.
  static constexpr std::size_t kMaxEvents = 1024;

  /// Connects to a socket QEMU listens on, waiting for it to appear.
  [[nodiscard]] static Result<std::unique_ptr<QmpClient>> connect(
      const std::filesystem::path& socket, Deadline deadline);
  /// Speaks over a connected socket: reads the greeting, leaves negotiation mode.
  [[nodiscard]] static Result<std::unique_ptr<QmpClient>> adopt(UniqueFd socket, Deadline deadline);

  /// Sends a command; the value of its "return" member. `arguments` is a JSON object or empty.
  /// ErrorCode::io carries QEMU's own error text; ErrorCode::closed means QEMU is gone.
  [[nodiscard]] Result<rapidjson::Document> execute(std::string_view command,
                                                    std::string_view arguments, Deadline deadline);

  /// Gives QEMU an open file (borrowed); the name under which commands can use it.
  [[nodiscard]] Result<std::string> give_file(int fd, Deadline deadline);

  /// The next event, waiting for it until the deadline; none when it passes.
  [[nodiscard]] Result<std::optional<QmpEvent>> next_event(Deadline deadline);

  /// Readable (poll) when QEMU has said something. Events read while waiting for a reply are queued
  /// and do not show here.
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  explicit QmpClient(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<rapidjson::Document> read_message(Deadline deadline);
  Result<> fill(Deadline deadline);
  Result<> send(std::string_view bytes, Deadline deadline);
  Result<> send_with_file(std::string_view bytes, int fd);
  Result<rapidjson::Document> wait_reply(std::string_view command, Deadline deadline);
  std::string request(std::string_view command, std::string_view arguments);
  void queue_event(const rapidjson::Document& message);

  UniqueFd socket_;
  std::string buffer_;
  std::size_t searched_ = 0;  ///< of buffer_: has no line end
  std::deque<QmpEvent> events_;
  std::uint64_t last_id_ = 0;
};

/// A JSON string literal with its quotes.
[[nodiscard]] std::string json_quoted(std::string_view text);

}  // namespace glasshook::machine
