#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/text.h"
#include "cli/diagnostics.h"
#include "output/describe.h"

namespace glasshook::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 2s;
constexpr auto kTick = 500ms;
constexpr std::string_view kEraseLine = "\r\x1b[K";

}  // namespace

bool use_color(ColorMode mode, int fd) {
  if (mode != ColorMode::automatic) return mode == ColorMode::always;
  const char* const no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* const term = std::getenv("TERM");
  return isatty(fd) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

std::size_t terminal_columns(int fd, std::size_t otherwise) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : otherwise;
}

Progress::Progress()
    : terminal_(isatty(STDERR_FILENO) == 1),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Progress::~Progress() {
  thread_.request_stop();
  thread_.join();
  clear();
}

void Progress::step(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (text_ == text) return;
  if (drawn_) write_all(STDERR_FILENO, kEraseLine);
  drawn_ = false;
  text_ = to_printable(text);
  step_begun_ = std::chrono::steady_clock::now();
  pending_ = true;
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  if (drawn_) write_all(STDERR_FILENO, kEraseLine);
  drawn_ = pending_ = false;
  text_.clear();
}

void Progress::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (!text_.empty() && std::chrono::steady_clock::now() - step_begun_ >= kPatience) draw();
    changed_.wait_for(lock, stop, kTick, [] { return false; });
  }
}

void Progress::draw() {
  if (terminal_) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
        std::chrono::steady_clock::now() - step_begun_);
    const std::string line = fmt::format("{} ({} s)", text_, seconds.count());
    const std::size_t columns = terminal_columns(STDERR_FILENO, 80) - 1;
    write_all(STDERR_FILENO, fmt::format("{}{}", kEraseLine, output::cut_to(line, columns)));
    drawn_ = true;
  } else if (pending_) {
    print_note(text_);
  }
  pending_ = false;
}

}  // namespace glasshook::cli
