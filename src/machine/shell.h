// Runs commands in a guest through the plain shell its image offers on a port; no agent.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/deadline.h"
#include "machine/stream_filter.h"
#include "machine/vm.h"

namespace glasshook::machine {

/// A program to run in the guest. Strings may hold any byte but zero.
struct GuestCommand {
  std::vector<std::string> argv;
  std::string directory = "/root";
  std::vector<std::string> environment;       ///< "NAME=value"
  std::vector<std::filesystem::path> copies;  ///< host files put into `directory` before
  /// A host file that is put there too, executable whatever its permissions; empty: none.
  std::filesystem::path program = {};
};

enum class Stream : std::uint8_t { out, err };

/// Receives what the command writes, as it comes.
using StreamSink = std::function<void(Stream, std::string_view)>;

/// The shell of one machine. What comes back is the guest's word: it is capped, it may be forged
/// by the guest's root, and it cannot make a call wait past its deadline. Used from one thread.
class GuestShell {
 public:
  /// Takes the machine's ports and delivery disk; the machine must outlive the shell.
  [[nodiscard]] static Result<GuestShell> open(Machine& machine);
  /// Over any control, stdout and stderr streams, and a file for deliveries. `drain` is how long
  /// output may lag behind a command's end while nothing arrives.
  GuestShell(std::array<UniqueFd, kPorts> ports, int delivery_fd,
             Clock::duration drain = std::chrono::seconds(2));

  /// For a guest that boots: waits until its shell has begun, which it shows by an empty line.
  /// Serial ports lose what comes before.
  Result<> wait_begun(Deadline deadline);
  /// Waits until the guest's shell answers.
  Result<> wait_ready(Deadline deadline);
  /// Runs one line of shell commands of ours; its exit status. Not for a guest under watch: it
  /// starts processes that belong to no command.
  Result<int> run_line(std::string_view line, Deadline deadline);

  /// Puts the command and its files where the guest finds them. Nothing of this machine is read
  /// afterwards.
  Result<> deliver(const GuestCommand& command);
  /// Starts the process of the command that was delivered last; it waits before it becomes the
  /// program. Its process id in the guest.
  Result<std::uint32_t> prepare(Deadline deadline);
  /// Lets the prepared process run the program.
  Result<> release();
  /// Hands over output and notices the end, waiting up to `timeout` for something to happen. The
  /// exit status (127: not found, 126: not executable, 128+n: ended by signal n) once it has
  /// ended and all its output was handed over.
  Result<std::optional<int>> pump(const StreamSink& sink, std::chrono::milliseconds timeout);

  /// Readable (poll) when pump() has something to do.
  [[nodiscard]] std::array<int, kPorts> fds() const;

 private:
  Result<> send(std::string_view line);
  Result<bool> receive(Deadline deadline);
  Result<std::string> expect(std::string_view word, Deadline deadline);
  std::optional<std::string> take_reply(std::string_view word);
  bool read_streams(const StreamSink& sink);
  std::string heard();

  std::array<UniqueFd, kPorts> ports_;
  int delivery_fd_;
  Clock::duration drain_;
  std::string nonce_;
  std::string control_;  ///< what the control port said and nobody has looked at
  std::array<StreamFilter, 2> filters_;
  std::optional<int> status_;
  Deadline drain_until_{}, drain_end_{};
};

}  // namespace glasshook::machine
