// Token buckets that keep one hot hook from drowning the rest.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "capture/program.h"

namespace glasshook::capture {

/// kLimiterCount token buckets shared by all vCPUs; lock-free. A bucket nobody configured never
/// says no. Kept as one number a bucket: the time at which the bucket is full again.
class RateLimiterTable {
 public:
  /// Ticks are the unit of record timestamps.
  explicit RateLimiterTable(std::uint64_t ticks_per_second) : ticks_per_second_(ticks_per_second) {}

  /// Allows `per_second` tokens a second and `burst` (at least 1) at once; per_second 0 lifts the
  /// limit. The bucket starts full. `limiter` must be below kLimiterCount, here and below.
  void configure(std::uint32_t limiter, std::uint32_t per_second, std::uint32_t burst) noexcept {
    Bucket& bucket = buckets_[limiter];
    const std::uint64_t token = per_second == 0 ? 0 : ticks_per_second_ / per_second;
    bucket.slack.store(token * (std::max(burst, 1u) - 1), std::memory_order_relaxed);
    bucket.full_at.store(0, std::memory_order_relaxed);
    bucket.token.store(token, std::memory_order_relaxed);
  }

  /// Takes a token at time `now`; false (counted) when there is none.
  [[nodiscard]] bool take(std::uint32_t limiter, std::uint64_t now) noexcept {
    Bucket& bucket = buckets_[limiter];
    const std::uint64_t token = bucket.token.load(std::memory_order_relaxed);
    if (token == 0) return true;
    const std::uint64_t slack = bucket.slack.load(std::memory_order_relaxed);
    std::uint64_t full_at = bucket.full_at.load(std::memory_order_relaxed);
    while (true) {
      if (full_at > now && full_at - now > slack) {
        bucket.denied.fetch_add(1, std::memory_order_relaxed);
        return false;
      }
      if (bucket.full_at.compare_exchange_weak(full_at, std::max(full_at, now) + token,
                                               std::memory_order_relaxed))
        return true;
    }
  }

  /// How often take() said no.
  [[nodiscard]] std::uint64_t denied(std::uint32_t limiter) const noexcept {
    return buckets_[limiter].denied.load(std::memory_order_relaxed);
  }

 private:
  struct Bucket {
    std::atomic<std::uint64_t> token{0};    ///< ticks a token takes to grow back; 0: no limit
    std::atomic<std::uint64_t> slack{0};    ///< ticks the bucket may be short of full
    std::atomic<std::uint64_t> full_at{0};  ///< when the bucket is full again
    std::atomic<std::uint64_t> denied{0};
  };

  std::uint64_t ticks_per_second_;
  std::array<Bucket, kLimiterCount> buckets_{};
};

}  // namespace glasshook::capture
