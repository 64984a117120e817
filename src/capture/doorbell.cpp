#include "capture/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

namespace glasshook::capture {

// Not the PRIVATE form: producer and consumer are different processes.

void Doorbell::wake() noexcept {
  waiting_.store(0, std::memory_order_relaxed);
  ::syscall(SYS_futex, &waiting_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Doorbell::sleep(std::chrono::nanoseconds timeout) noexcept {
  if (timeout.count() <= 0) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec limit{.tv_sec = static_cast<time_t>(seconds.count()),
                       .tv_nsec = static_cast<long>((timeout - seconds).count())};
  ::syscall(SYS_futex, &waiting_, FUTEX_WAIT, 1, &limit, nullptr, 0);
}

}  // namespace glasshook::capture
