// A file, pipe or terminal that receives whole lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace glasshook::output {

/// Buffers lines and writes them in large pieces. When writing fails (disk full), a file opened by
/// open() is cut back to its last whole line, and every later call returns the same error.
class LineSink {
 public:
  /// Creates or empties the file; "-" is the standard output.
  [[nodiscard]] static Result<LineSink> open(const std::string& path);
  /// Writes to a descriptor that stays the caller's. `name` is used in messages.
  [[nodiscard]] static LineSink borrow(int fd, std::string name);

  LineSink(LineSink&& other) noexcept;
  LineSink& operator=(LineSink&&) = delete;
  ~LineSink();  ///< flushes; an error at this point is lost, so flush() first

  /// Takes one or more whole lines, each with its newline.
  Result<> write(std::string_view lines);
  Result<> flush();

  /// Bytes handed to the operating system so far.
  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  LineSink(int fd, std::string name, bool owned);
  std::unexpected<Error> give_up(std::size_t done, int error);

  int fd_ = -1;
  bool owned_ = false;
  std::string name_;
  std::string buffer_;
  std::uint64_t written_ = 0;
  std::optional<Error> failure_;
};

}  // namespace glasshook::output
