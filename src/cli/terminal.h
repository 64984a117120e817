// What the standard streams are connected to, and the progress of long work shown there.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace glasshook::cli {

/// --color.
enum class ColorMode { automatic, always, never };

/// Whether to colour what is written to `fd`: with `automatic` on terminals, unless NO_COLOR is set
/// or TERM is "dumb".
[[nodiscard]] bool use_color(ColorMode mode, int fd);

/// Columns of the terminal behind `fd`, or `otherwise`.
[[nodiscard]] std::size_t terminal_columns(int fd, std::size_t otherwise);

/// Says on the standard error what long work is at, once a step takes more than two seconds: one
/// line that is redrawn on a terminal, a line a step elsewhere. Safe from any thread.
class Progress {
 public:
  Progress();
  ~Progress();  ///< takes the line away

  void step(std::string_view text);
  /// Takes the line away until the next step.
  void clear();

 private:
  void run(const std::stop_token& stop);
  void draw();

  const bool terminal_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string text_;
  std::chrono::steady_clock::time_point step_begun_;
  bool pending_ = false;  ///< a step that no line was written for yet
  bool drawn_ = false;    ///< a line stands on the terminal
  std::jthread thread_;   ///< last: ends before the rest is gone
};

}  // namespace glasshook::cli
