#include "cli/hook_commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "cli/diagnostics.h"

namespace glasshook::cli {
namespace {

constexpr std::size_t kMaxLine = 4096;

/// The text without blanks around it.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

/// True when reading the terminal would stop us: another job has it.
bool in_background(int fd) { return isatty(fd) != 0 && tcgetpgrp(fd) != getpgrp(); }

}  // namespace

Result<HookCommands> HookCommands::open(const std::string& file, bool quiet) {
  HookCommands commands;
  commands.quiet_ = quiet;
  commands.standard_input_ = file == "-";
  if (commands.standard_input_) return commands;
  // Open for writing, too: a FIFO without a writer would be at its end.
  int fd = ::open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && (errno == EACCES || errno == EROFS))
    fd = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return with_remedy(
        fail(ErrorCode::io, "cannot read commands from {}: {}", file, std::strerror(errno)),
        "mkfifo " + file);
  commands.fd_ = UniqueFd(fd);
  return commands;
}

void HookCommands::apply(monitor::Session& session, EventOutputs& outputs) {
  const int fd = standard_input_ ? STDIN_FILENO : fd_.get();
  std::array<char, 4096> bytes;
  while (!ended_ && !in_background(fd)) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 0) <= 0) return;
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    ended_ = got <= 0;
    pending_.append(bytes.data(), ended_ ? 0 : static_cast<std::size_t>(got));
    if (ended_ && !pending_.empty()) pending_ += '\n';
    std::size_t begin = 0;
    for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1)
      carry_out(trimmed(std::string_view(pending_).substr(begin, end - begin)), session, outputs);
    pending_.erase(0, begin);
    if (pending_.size() > kMaxLine) pending_.clear();
  }
}

void HookCommands::carry_out(std::string_view line, monitor::Session& session,
                             EventOutputs& outputs) const {
  if (line.empty() || line.starts_with('#')) return;
  const bool adds = line.front() == '+';
  const std::string_view api = trimmed(line.substr(1));
  if ((!adds && line.front() != '-') || api.empty()) {
    print_error({ErrorCode::invalid_argument, fmt::format("`{}` is no command", line),
                 "write +API to add a hook, -API to remove one"});
    return;
  }
  const auto done = adds ? session.add_api(api) : session.remove_api(api);
  outputs.flush();
  if (!done)
    print_error(done.error());
  else if (!quiet_)
    print_note(fmt::format("{} {}", adds ? "hooked" : "no longer hooked:", api));
}

}  // namespace glasshook::cli
