// Lets the reader of several rings sleep until one of them has something.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace glasshook::capture {

/// Lives in memory that producers and the consumer share. Ringing costs a fence and a load while
/// the consumer is awake. Whatever a hostile producer writes here can at most wake the consumer.
class Doorbell {
 public:
  /// Producer: wakes the consumer when it sleeps. Call after publishing.
  void ring() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (waiting_.load(std::memory_order_relaxed) != 0) wake();
  }

  /// Consumer: sleeps until rung, at most `timeout`, unless `anything_there()` already.
  template <class AnythingThere>
  void wait(std::chrono::nanoseconds timeout, AnythingThere&& anything_there) noexcept {
    waiting_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!anything_there()) sleep(timeout);
    waiting_.store(0, std::memory_order_relaxed);
  }

 private:
  void wake() noexcept;
  void sleep(std::chrono::nanoseconds timeout) noexcept;

  std::atomic<std::uint32_t> waiting_{0};  ///< also the futex word
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace glasshook::capture
