#include "hypervisor/probe/call_table.h"

#include <immintrin.h>

#include <algorithm>

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

HookSlot* CallTable::add(const PendingCall& call) noexcept {
  Bucket& bucket = bucket_of(call.key);
  const BucketLock lock(bucket);
  PendingCall* oldest = &bucket.calls[0];
  for (std::size_t i = 0; i < bucket.used; ++i) {
    PendingCall& c = bucket.calls[i];
    if (c.key == call.key && c.hook == call.hook) {
      c = call;
      return call.hook;
    }
    if (c.call < oldest->call) oldest = &c;
  }
  if (bucket.used < kWays) {
    bucket.calls[bucket.used++] = call;
    return nullptr;
  }
  HookSlot* given_up = oldest->hook;
  *oldest = call;
  return given_up;
}

std::size_t CallTable::take(const FrameKey& key,
                            std::array<PendingCall, kMaxNested>& out) noexcept {
  Bucket& bucket = bucket_of(key);
  std::size_t taken = 0;
  {
    const BucketLock lock(bucket);
    for (std::size_t i = 0; i < bucket.used && taken < kMaxNested;) {
      if (bucket.calls[i].key == key) {
        out[taken++] = bucket.calls[i];
        bucket.calls[i] = bucket.calls[--bucket.used];
      } else {
        ++i;
      }
    }
  }
  std::sort(out.begin(), out.begin() + taken,
            [](const PendingCall& a, const PendingCall& b) { return a.call > b.call; });
  return taken;
}

}  // namespace glasshook::hypervisor::probe
