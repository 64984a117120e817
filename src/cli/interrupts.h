// Ctrl-C: the first one ends what runs in good order, the second one at once.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <thread>

namespace glasshook::cli {

/// Catches SIGINT, SIGTERM and SIGHUP while it lives; there is one at a time. A signal in the first
/// phase, or a second one, ends the process with kInterrupted: children die with us.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// From now on the first signal only makes pending() true: whoever works looks at it.
  void handle_in_order() { in_order_ = true; }
  [[nodiscard]] bool pending() const { return count_ > 0; }

 private:
  void watch(int fd);

  std::atomic<int> count_ = 0;
  std::atomic<bool> in_order_ = false;
  int event_fd_;
  std::thread thread_;
};

}  // namespace glasshook::cli
