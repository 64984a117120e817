#include "cli/interrupts.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "cli/diagnostics.h"
#include "cli/exit_status.h"

namespace glasshook::cli {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
constexpr std::uint64_t kSignalled = 1;
constexpr std::uint64_t kStop = std::uint64_t{1} << 32;

/// Where the handler tells that a signal came.
volatile std::sig_atomic_t g_event_fd = -1;

void on_signal(int) {
  const int saved = errno;
  const std::uint64_t one = kSignalled;
  [[maybe_unused]] const ssize_t written = ::write(g_event_fd, &one, sizeof one);
  errno = saved;
}

}  // namespace

Interrupts::Interrupts() : event_fd_(::eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this] { watch(event_fd_); });
  g_event_fd = event_fd_;
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

Interrupts::~Interrupts() {
  for (const int signal : kSignals) ::signal(signal, SIG_DFL);
  const std::uint64_t stop = kStop;
  if (::write(event_fd_, &stop, sizeof stop) == sizeof stop) thread_.join();
  g_event_fd = -1;
  ::close(event_fd_);
}

void Interrupts::watch(int fd) {
  for (;;) {
    std::uint64_t events = 0;
    if (::read(fd, &events, sizeof events) != sizeof events) continue;
    if (events >= kStop) return;
    count_ += static_cast<int>(events);
    if (in_order_ && count_ == 1) continue;
    print_note("interrupted");
    ::_exit(kInterrupted);
  }
}

}  // namespace glasshook::cli
