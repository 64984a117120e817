#include "machine/shell.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/text.h"
#include "machine/quote.h"
#include "machine/tar.h"

namespace glasshook::machine {
namespace {

/// The control port is for short replies; a guest that says more is not listened to.
constexpr std::size_t kMaxControl = std::size_t{64} * 1024;
constexpr std::size_t kMaxCommand = std::size_t{128} * 1024;
constexpr auto kSendTime = std::chrono::seconds(10);
constexpr int kMostDrains = 10;  // a guest that never stops talking
constexpr auto kJobFile = "run/guest/job";

std::string random_nonce() {
  std::array<std::uint8_t, 16> bytes{};
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::getrandom(bytes.data() + have, bytes.size() - have, 0);
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error not_ready() {
  return {ErrorCode::timeout, "the guest did not become ready in time",
          "look at its console log; only images built by glasshook offer a shell"};
}

Result<> check_command(const GuestCommand& command) {
  if (command.argv.empty() || command.argv[0].empty())
    return fail(ErrorCode::invalid_argument, "no command to run in the guest");
  if (!command.directory.starts_with('/'))
    return fail(ErrorCode::invalid_argument, "{} is not an absolute path in the guest",
                to_printable(command.directory));
  std::size_t size = 0;
  for (const auto* list : {&command.argv, &command.environment}) {
    for (const std::string& text : *list) {
      size += text.size() + 1;
      if (text.find('\0') != std::string::npos)
        return fail(ErrorCode::invalid_argument, "an argument holds a zero byte");
    }
  }
  if (size > kMaxCommand)
    return fail(ErrorCode::limit, "the command is too long ({} bytes; at most {})", size,
                kMaxCommand);
  return {};
}

/// What the command's process is before it becomes the program: it says who it is, then waits.
std::string job_script(const GuestCommand& command, std::string_view nonce) {
  std::string script = "#!/bin/sh\n";
  script += fmt::format("cd {} || exit 125\n", shell_quoted(command.directory));
  for (const std::string& entry : command.environment)
    script += fmt::format("export {}\n", shell_quoted(entry));
  script += fmt::format("echo \"{} pid $$\"\nread -r go\nexec", nonce);
  for (const std::string& argument : command.argv) script += " " + shell_quoted(argument);
  return script + " </dev/null >/run/guest/stdout 2>/run/guest/stderr\n";
}

}  // namespace

Result<GuestShell> GuestShell::open(Machine& machine) {
  std::array<UniqueFd, kPorts> ports;
  for (const Port port : {Port::control, Port::out, Port::err}) {
    auto& fd = ports[static_cast<std::size_t>(port)];
    fd = machine.take_port(port);
    if (!fd.valid())
      return fail(ErrorCode::unsupported, "this machine has no channel to its guest's shell");
  }
  return GuestShell(std::move(ports), machine.delivery_fd());
}

GuestShell::GuestShell(std::array<UniqueFd, kPorts> ports, int delivery_fd, Clock::duration drain)
    : ports_(std::move(ports)), delivery_fd_(delivery_fd), drain_(drain), nonce_(random_nonce()) {}

std::array<int, kPorts> GuestShell::fds() const {
  return {ports_[0].get(), ports_[1].get(), ports_[2].get()};
}

Result<> GuestShell::wait_begun(Deadline deadline) {
  const auto said = receive(deadline);
  if (!said) return std::unexpected(said.error());
  return *said ? Result<>() : std::unexpected(not_ready());
}

Result<> GuestShell::wait_ready(Deadline deadline) {
  if (auto ok = send(fmt::format("echo {} ready", nonce_)); !ok) return ok;
  auto reply = expect("ready", deadline);
  if (reply) return {};
  return std::unexpected(reply.error().code == ErrorCode::timeout ? not_ready() : reply.error());
}

Result<int> GuestShell::run_line(std::string_view line, Deadline deadline) {
  nonce_ = random_nonce();
  if (auto ok = send(fmt::format("( {}; ) </dev/null; echo {} status $?", line, nonce_)); !ok)
    return std::unexpected(ok.error());
  auto reply = expect("status", deadline);
  if (!reply) return std::unexpected(reply.error());
  const auto status = parse_number<int>(*reply);
  if (!status) return fail(ErrorCode::protocol, "the guest's shell sent a malformed status");
  return *status;
}

Result<> GuestShell::deliver(const GuestCommand& command) {
  if (auto ok = check_command(command); !ok) return ok;
  nonce_ = random_nonce();
  TarWriter tar(delivery_fd_, kDeliverySize);
  if (auto ok = tar.add_bytes(kJobFile, job_script(command, nonce_), 0700); !ok) return ok;
  const auto place = [&](const std::filesystem::path& file) {
    const std::string name = std::filesystem::absolute(file).lexically_normal().filename();
    return fmt::format("{}/{}", command.directory.substr(1), name);
  };
  for (const auto& file : command.copies)
    if (auto ok = tar.add_path(place(file), file); !ok) return ok;
  if (!command.program.empty())
    if (auto ok = tar.add_program(place(command.program), command.program); !ok) return ok;
  return tar.finish();
}

Result<std::uint32_t> GuestShell::prepare(Deadline deadline) {
  for (StreamFilter& filter : filters_) filter.reset(nonce_ + "-end");
  status_.reset();
  // A restored guest's disk is still read-only, and its clock stands where the snapshot was made.
  // All on one line: what comes after it is for the job to read.
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  if (auto ok = send(
          fmt::format("busybox mount -o remount,rw / && busybox date -u -s @{2} >/dev/null && "
                      "tar -xf /run/guest/delivery -C / && sh /{1}; echo {0} status $?; "
                      "printf %s {0}-end >/run/guest/stdout; printf %s {0}-end >/run/guest/stderr",
                      nonce_, kJobFile, now));
      !ok)
    return std::unexpected(ok.error());
  auto reply = expect("pid", deadline);
  if (!reply) return std::unexpected(reply.error());
  const auto pid = parse_number<std::uint32_t>(*reply);
  if (!pid) return fail(ErrorCode::protocol, "the guest's shell sent a malformed process id");
  return *pid;
}

Result<> GuestShell::release() { return send("go"); }

Result<std::optional<int>> GuestShell::pump(const StreamSink& sink,
                                            std::chrono::milliseconds timeout) {
  std::array<pollfd, kPorts> entries{};
  for (std::size_t i = 0; i < kPorts; ++i) entries[i] = {ports_[i].get(), POLLIN, 0};
  if (::poll(entries.data(), entries.size(), static_cast<int>(timeout.count())) < 0 &&
      errno != EINTR)
    return fail(ErrorCode::io, "poll: {}", std::strerror(errno));
  const bool progress = read_streams(sink);
  if (auto got = receive(Clock::now()); !got) {
    // What a machine said before it ended is still handed over.
    if (progress) return std::optional<int>();
    return std::unexpected(got.error());
  }
  if (!status_) {
    const auto reply = take_reply("status");
    if (!reply) return std::optional<int>();
    status_ = parse_number<int>(*reply);
    if (!status_) return fail(ErrorCode::protocol, "the guest's shell sent a malformed status");
    drain_until_ = in(drain_);
    drain_end_ = in(kMostDrains * drain_);
  }
  if (filters_[0].ended() && filters_[1].ended()) return status_;
  if (progress) drain_until_ = std::min(in(drain_), drain_end_);
  if (Clock::now() < drain_until_) return std::optional<int>();
  for (const Stream stream : {Stream::out, Stream::err}) {
    const std::string rest = filters_[static_cast<std::size_t>(stream)].flush();
    if (!rest.empty()) sink(stream, rest);
  }
  return status_;
}

/// Reads each stream once; whether there was anything.
bool GuestShell::read_streams(const StreamSink& sink) {
  bool progress = false;
  std::array<char, 65536> chunk;
  for (const Stream stream : {Stream::out, Stream::err}) {
    const std::size_t index = static_cast<std::size_t>(stream);
    const ssize_t got = ::recv(ports_[index + 1].get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got <= 0) continue;
    progress = true;
    const std::string text = filters_[index].feed({chunk.data(), static_cast<std::size_t>(got)});
    if (!text.empty()) sink(stream, text);
  }
  return progress;
}

Result<> GuestShell::send(std::string_view line) {
  std::string bytes = std::string(line) + "\n";
  std::string_view rest = bytes;
  const Deadline deadline = in(kSendTime);
  while (!rest.empty()) {
    const ssize_t put =
        ::send(ports_[0].get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put > 0) {
      rest.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {
      pollfd entry{ports_[0].get(), POLLOUT, 0};
      if (::poll(&entry, 1, poll_timeout(deadline)) == 0 && Clock::now() >= deadline)
        return fail(ErrorCode::timeout, "the guest's shell does not take commands");
    } else if (errno != EINTR) {
      return fail(ErrorCode::closed, "the machine closed the guest's shell");
    }
  }
  return {};
}

/// Reads what the control port has, waiting for it; false at the deadline.
Result<bool> GuestShell::receive(Deadline deadline) {
  const int fd = ports_[0].get();
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) {
      control_.append(chunk.data(), static_cast<std::size_t>(got));
      if (control_.size() > kMaxControl) control_.erase(0, control_.size() - kMaxControl);
      return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
      return fail(ErrorCode::closed, "the machine closed the guest's shell");
    if (Clock::now() >= deadline) return false;
    pollfd entry{fd, POLLIN, 0};
    ::poll(&entry, 1, poll_timeout(deadline));
  }
}

/// The rest of the line "NONCE word rest", once it is complete; earlier lines are kept.
std::optional<std::string> GuestShell::take_reply(std::string_view word) {
  const std::string prefix = fmt::format("{} {}", nonce_, word);
  for (std::size_t begin = 0; begin < control_.size();) {
    const std::size_t end = control_.find('\n', begin);
    if (end == std::string::npos) break;
    std::string_view line(control_.data() + begin, end - begin);
    if (line.starts_with(prefix)) {
      line.remove_prefix(prefix.size());
      if (line.starts_with(' ')) line.remove_prefix(1);
      std::string rest(line);
      control_.erase(begin, end + 1 - begin);
      return rest;
    }
    begin = end + 1;
  }
  return std::nullopt;
}

/// Waits for the reply `word`. Another reply in its place means that the shell gave up.
Result<std::string> GuestShell::expect(std::string_view word, Deadline deadline) {
  for (;;) {
    if (auto reply = take_reply(word)) return *reply;
    if (const auto status = take_reply("status"))
      return fail(ErrorCode::guest_fault, "the guest could not start the command (status {}){}",
                  to_printable(*status), heard());
    auto got = receive(deadline);
    if (!got) return std::unexpected(got.error());
    if (!*got)
      return fail(ErrorCode::timeout, "the guest's shell did not answer in time{}", heard());
  }
}

/// ": what the shell printed", for error messages.
std::string GuestShell::heard() {
  constexpr std::size_t kShown = 400;
  std::string text = control_.substr(control_.size() - std::min(control_.size(), kShown));
  while (text.ends_with('\n')) text.pop_back();
  control_.clear();
  return text.empty() ? "" : ": " + to_printable(text);
}

}  // namespace glasshook::machine
