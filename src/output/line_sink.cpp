#include "output/line_sink.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace glasshook::output {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

Error write_error(const std::string& name, int error) {
  const ErrorCode code = error == EPIPE ? ErrorCode::closed : ErrorCode::io;
  Error result{code, fmt::format("cannot write {}: {}", name, std::strerror(error)), {}};
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      result.remedy = "free some space there, or write to another disk";
      break;
    case EFBIG:
      result.remedy = "raise the file size limit (ulimit -f), or write elsewhere";
      break;
    case EPIPE:
      result.remedy = "keep the reading program running until the end";
      break;
    default:
      break;
  }
  return result;
}

}  // namespace

LineSink::LineSink(int fd, std::string name, bool owned)
    : fd_(fd), owned_(owned), name_(std::move(name)) {}

LineSink::LineSink(LineSink&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      owned_(other.owned_),
      name_(std::move(other.name_)),
      buffer_(std::exchange(other.buffer_, {})),
      written_(other.written_),
      failure_(std::move(other.failure_)) {}

LineSink::~LineSink() {
  if (fd_ < 0) return;
  (void)flush();
  if (owned_) ::close(fd_);
}

Result<LineSink> LineSink::open(const std::string& path) {
  if (path == "-") return borrow(STDOUT_FILENO, "the standard output");
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0)
    return with_remedy(fail(ErrorCode::io, "cannot create {}: {}", path, std::strerror(errno)),
                       "name a file in a directory that exists and that you may write");
  return LineSink{fd, path, true};
}

LineSink LineSink::borrow(int fd, std::string name) { return LineSink{fd, std::move(name), false}; }

Result<> LineSink::write(std::string_view lines) {
  if (failure_) return std::unexpected(*failure_);
  buffer_ += lines;
  if (buffer_.size() >= kBufferBytes) return flush();
  return {};
}

Result<> LineSink::flush() {
  if (failure_) return std::unexpected(*failure_);
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return give_up(done, errno);
    }
  }
  written_ += buffer_.size();
  buffer_.clear();
  return {};
}

std::unexpected<Error> LineSink::give_up(std::size_t done, int error) {
  failure_ = write_error(name_, error);
  // Bytes behind the last newline are half a line: take them back where that is possible.
  const std::size_t newline = std::string_view{buffer_}.substr(0, done).rfind('\n');
  const std::size_t whole = newline == std::string_view::npos ? 0 : newline + 1;
  const auto end = static_cast<off_t>(written_ + whole);
  if (owned_ && done != whole && ::ftruncate(fd_, end) == 0) done = whole;
  written_ += done;
  buffer_.clear();
  return std::unexpected(*failure_);
}

}  // namespace glasshook::output
