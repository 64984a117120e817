#include "cli/diagnostics.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"

namespace glasshook::cli {
namespace {

/// Printable, with the line breaks of the text kept and indented.
std::string printable_lines(std::string_view text, std::string_view indent) {
  std::string out;
  while (!text.empty()) {
    const auto newline = text.find('\n');
    out += to_printable(text.substr(0, newline));
    out += '\n';
    text = newline == std::string_view::npos ? "" : text.substr(newline + 1);
    if (!text.empty()) out += indent;
  }
  return out;
}

}  // namespace

std::string error_text(const Error& error) {
  std::string out = "glasshook: " + printable_lines(error.message, "  ");
  if (!error.remedy.empty()) out += "  try: " + printable_lines(error.remedy, "       ");
  return out;
}

void print_error(const Error& error) { write_all(STDERR_FILENO, error_text(error)); }

void print_note(std::string_view text) {
  write_all(STDERR_FILENO, "glasshook: " + printable_lines(text, "  "));
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace glasshook::cli
