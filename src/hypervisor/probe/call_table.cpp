#include "hypervisor/probe/call_table.h"

#include <immintrin.h>

#include <algorithm>
#include <utility>

namespace glasshook::hypervisor::probe {

class CallTable::BucketLock {
 public:
  explicit BucketLock(Bucket& bucket) noexcept : bucket_(bucket) {
    while (bucket_.lock.test_and_set(std::memory_order_acquire)) _mm_pause();
  }
  ~BucketLock() { bucket_.lock.clear(std::memory_order_release); }
  BucketLock(const BucketLock&) = delete;
  BucketLock& operator=(const BucketLock&) = delete;

 private:
  Bucket& bucket_;
};

bool CallTable::is_restart(const FrameKey& key, const HookSlot* hook,
                           std::uint64_t fingerprint) noexcept {
  Bucket& bucket = bucket_of(key);
  const BucketLock lock(bucket);
  for (std::size_t i = 0; i < bucket.used; ++i) {
    const PendingCall& c = bucket.calls[i];
    if (c.key == key && c.hook == hook && c.fingerprint == fingerprint) return true;
  }
  return false;
}

std::size_t CallTable::give_up(const FrameKey& key, const HookSlot* hook,
                               std::uint64_t return_address, GivenUp& given_up) noexcept {
  Bucket& bucket = bucket_of(key);
  if (bucket.empty()) return 0;
  const BucketLock lock(bucket);
  std::size_t gone = 0;
  for (std::size_t i = 0; i < bucket.used;) {
    const PendingCall& c = bucket.calls[i];
    if (c.key == key && (c.hook == hook || c.return_address != return_address)) {
      given_up[gone++] = c;
      bucket.remove(i);
    } else {
      ++i;
    }
  }
  return gone;
}

std::optional<PendingCall> CallTable::add(const PendingCall& call) noexcept {
  Bucket& bucket = bucket_of(call.key);
  const BucketLock lock(bucket);
  if (bucket.used < kWays) {
    bucket.calls[bucket.used] = call;
    bucket.used.store(bucket.used + 1, std::memory_order_release);
    return std::nullopt;
  }
  PendingCall& oldest =
      *std::min_element(bucket.calls.begin(), bucket.calls.end(),
                        [](const PendingCall& a, const PendingCall& b) { return a.call < b.call; });
  return std::exchange(oldest, call);
}

void CallTable::drop_inactive() noexcept {
  for (Bucket& bucket : buckets_) {
    const BucketLock lock(bucket);
    for (std::size_t i = 0; i < bucket.used;) {
      if (bucket.calls[i].hook->active.load(std::memory_order_relaxed))
        ++i;
      else
        bucket.remove(i);
    }
  }
}

bool CallTable::has(const FrameKey& key) noexcept {
  Bucket& bucket = bucket_of(key);
  if (bucket.empty()) return false;
  const BucketLock lock(bucket);
  return std::any_of(bucket.calls.begin(), bucket.calls.begin() + bucket.used,
                     [&](const PendingCall& c) { return c.key == key; });
}

std::size_t CallTable::take(const FrameKey& key, std::uint64_t return_address,
                            std::array<PendingCall, kMaxNested>& out) noexcept {
  Bucket& bucket = bucket_of(key);
  std::size_t taken = 0;
  {
    const BucketLock lock(bucket);
    for (std::size_t i = 0; i < bucket.used && taken < kMaxNested;) {
      const PendingCall& c = bucket.calls[i];
      const bool returns_here = c.return_address == 0 || c.return_address == return_address;
      if (c.key == key && returns_here) {
        out[taken++] = c;
        bucket.remove(i);
      } else {
        ++i;
      }
    }
  }
  if (taken > 1)
    std::sort(out.begin(), out.begin() + taken,
              [](const PendingCall& a, const PendingCall& b) { return a.call > b.call; });
  return taken;
}

}  // namespace glasshook::hypervisor::probe
