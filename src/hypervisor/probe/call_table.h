// Calls that were entered and whose return is awaited.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "capture/machine.h"
#include "hypervisor/probe/hook_table.h"

namespace glasshook::hypervisor::probe {

/// Names a stack frame: a `ret` that runs with the same stack pointer in the same address space as
/// a function's entry returns from that function. Kernel stacks are unique by address alone.
struct FrameKey {
  std::uint64_t space;  ///< page-table root without the isolation bit; 0 for kernel stacks
  std::uint64_t stack;  ///< RSP

  [[nodiscard]] bool is_kernel() const { return Gva{stack}.is_kernel(); }

  static FrameKey at(Gva stack, Gpa root) {
    return {.space = stack.is_kernel() ? 0 : root.value & ~kPtiUserBit, .stack = stack.value};
  }
  static FrameKey of(const capture::CpuState& cpu) {
    return at(Gva{cpu.gpr[static_cast<std::size_t>(capture::CpuRegister::rsp)]}, cpu.space.root);
  }
  bool operator==(const FrameKey&) const = default;
};

/// A call in flight. Without initial values, so that a hit does not clear arrays of them.
struct PendingCall {
  FrameKey key;
  HookSlot* hook;
  std::uint64_t call;         ///< id in the records; also tells which of two is older
  std::uint64_t fingerprint;  ///< of the general registers at entry, of user-mode code; else 0
  /// Where the call returns to, of user-mode code: a program can leave a frame without returning
  /// (longjmp, an exception, the end of a thread), and another call can use it. 0: not looked at.
  std::uint64_t return_address;
  capture::SavedSlots saved;
};

/// A fixed-size hash table with a small lock a bucket, so that vCPUs do not meet. A full bucket
/// gives up its oldest call. Nothing blocks or allocates.
class CallTable {
 public:
  static constexpr std::size_t kBuckets = 8192;  ///< power of two
  static constexpr std::size_t kWays = 8;
  static constexpr std::size_t kMaxNested = 4;  ///< hooked functions that end in one `ret`

  CallTable() : buckets_(kBuckets) {}

  /// Calls given up at once.
  using GivenUp = std::array<PendingCall, kWays>;

  /// True when this very entry is pending: the instruction was restarted after a fault.
  [[nodiscard]] bool is_restart(const FrameKey& key, const HookSlot* hook,
                                std::uint64_t fingerprint) noexcept;

  /// Removes the calls that can no longer return once `hook` is entered in that frame: an earlier
  /// one of the same hook, and any that returns elsewhere. What remains ends together with the new
  /// one (a tail call). How many were written to `given_up`.
  std::size_t give_up(const FrameKey& key, const HookSlot* hook, std::uint64_t return_address,
                      GivenUp& given_up) noexcept;

  /// Adds a call; the one that was given up for lack of room, if any.
  std::optional<PendingCall> add(const PendingCall& call) noexcept;

  /// Forgets the calls of unloaded hooks.
  void drop_inactive() noexcept;

  /// True when a call of that frame is pending.
  [[nodiscard]] bool has(const FrameKey& key) noexcept;

  /// Removes every call of that frame which returns to `return_address` (or did not say where),
  /// newest first; how many were written to `out`.
  std::size_t take(const FrameKey& key, std::uint64_t return_address,
                   std::array<PendingCall, kMaxNested>& out) noexcept;

 private:
  struct alignas(64) Bucket {
    std::atomic_flag lock = ATOMIC_FLAG_INIT;
    /// Written under the lock. A frame's calls are its own guest thread's, which sees what it did.
    std::atomic<std::uint8_t> used{0};
    std::array<PendingCall, kWays> calls;

    [[nodiscard]] bool empty() const noexcept { return used.load(std::memory_order_acquire) == 0; }
    /// Removes a call; the last one takes its place.
    void remove(std::size_t i) noexcept {
      const std::uint8_t last = used.load(std::memory_order_relaxed) - 1;
      if (i != last) calls[i] = calls[last];
      used.store(last, std::memory_order_release);
    }
  };
  class BucketLock;

  [[nodiscard]] Bucket& bucket_of(const FrameKey& key) noexcept {
    const std::uint64_t mixed = (key.space ^ key.stack) * 0x9e3779b97f4a7c15;
    return buckets_[mixed >> 51];
  }
  static_assert(kBuckets == 1ull << 13, "bucket_of() keeps the top 13 bits");

  std::vector<Bucket> buckets_;
};

}  // namespace glasshook::hypervisor::probe
