// When to ask again about a code page whose answer was incomplete.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "base/guest_address.h"

namespace glasshook::hypervisor::probe {

/// A page is asked about again by every block of code on it that runs for the first time: a
/// function is looked up before it is called, so what the monitor lacked is there by then. A block
/// that has run already (called from within its module) has to wait for a pause, which doubles.
/// Safe from all vCPU threads; nothing blocks.
class AskAgain {
 public:
  /// Answers to one page before it is left as it is.
  static constexpr std::uint32_t kMaxAnswers = 256;
  static constexpr std::uint32_t kFirstPauseMs = 10, kLongestPauseMs = 2560;

  /// Notes an incomplete answer that the block at `offset` got at the time `now`, in ticks. False:
  /// it was the last.
  bool note(std::uint16_t offset, std::uint64_t now, std::uint64_t ticks_per_ms) {
    word_of(offset).fetch_or(bit_of(offset), std::memory_order_relaxed);
    const std::uint32_t before = answers_.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t pause = std::min<std::uint64_t>(
        std::uint64_t{kFirstPauseMs} << std::min(before, 16u), kLongestPauseMs);
    next_.store(now + pause * ticks_per_ms, std::memory_order_relaxed);
    return before + 1 < kMaxAnswers;
  }

  /// True when the block at `offset` shall ask at the time `now`.
  [[nodiscard]] bool is_due(std::uint16_t offset, std::uint64_t now) const {
    if ((word_of(offset).load(std::memory_order_relaxed) & bit_of(offset)) == 0) return true;
    return now >= next_.load(std::memory_order_relaxed);
  }

 private:
  using Words = std::array<std::atomic<std::uint64_t>, kPageSize / 64>;

  [[nodiscard]] const Words::value_type& word_of(std::uint16_t offset) const {
    return asked_[offset % kPageSize / 64];
  }
  [[nodiscard]] Words::value_type& word_of(std::uint16_t offset) {
    return asked_[offset % kPageSize / 64];
  }
  [[nodiscard]] static std::uint64_t bit_of(std::uint16_t offset) {
    return std::uint64_t{1} << offset % 64;
  }

  Words asked_{};  ///< blocks, by the offset at which they begin
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint32_t> answers_{0};
};

}  // namespace glasshook::hypervisor::probe
