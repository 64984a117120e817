// Points in time after which waiting ends.
#pragma once

#include <algorithm>
#include <chrono>

namespace glasshook::machine {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

/// The deadline `after` from now.
[[nodiscard]] inline Deadline in(Clock::duration after) { return Clock::now() + after; }

/// Time left as poll(2) wants it: milliseconds, rounded up, 0 when it has passed.
[[nodiscard]] inline int poll_timeout(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, 1'000'000));
}

}  // namespace glasshook::machine
