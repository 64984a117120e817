// Sets of 64-bit keys that capture programs filter by (pids, tasks, page-table roots).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "capture/program.h"

namespace glasshook::capture {

/// kSetCount sets shared by all vCPUs. has, add and remove are lock-free, allocate nothing and may
/// run on any number of threads. Each set is a hash table of one-cache-line buckets; a key lives in
/// one of two. The memory (16 to 32 bytes a key and set) is reserved once and only takes up RAM
/// where keys were added.
class SetTable {
 public:
  static constexpr std::size_t kDefaultCapacity = 65536;

  /// Room for `keys_per_set` keys in each set. ErrorCode::limit when the memory is not to be had.
  [[nodiscard]] static Result<SetTable> create(std::size_t keys_per_set = kDefaultCapacity);

  /// `set` must be below kSetCount, here and below.
  [[nodiscard]] bool has(std::uint32_t set, std::uint64_t key) const noexcept;
  /// True when the key is in the set afterwards; false (counted) when there is no room for it.
  bool add(std::uint32_t set, std::uint64_t key) noexcept;
  /// True when the key was in the set.
  bool remove(std::uint32_t set, std::uint64_t key) noexcept;

  /// Keys that add() had no room for.
  [[nodiscard]] std::uint64_t rejected() const noexcept { return shared_->rejected; }

 private:
  using Slot = std::atomic<std::uint64_t>;  ///< a key, or 0 when free
  static constexpr std::size_t kBucketSlots = 8;
  struct alignas(64) Bucket {
    std::array<Slot, kBucketSlots> slots;
  };
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(Bucket* buckets) const noexcept;
  };
  struct Shared {
    std::atomic<std::uint64_t> zero_members{0};  ///< bit n: key 0 is in set n
    std::atomic<std::uint64_t> rejected{0};
  };
  using Pair = std::array<Bucket*, 2>;

  SetTable(std::unique_ptr<Bucket[], Unmap> buckets, std::size_t buckets_per_set,
           std::uint64_t seed);
  [[nodiscard]] Pair buckets_of(std::uint32_t set, std::uint64_t key) const noexcept;

  std::unique_ptr<Bucket[], Unmap> buckets_;
  std::size_t buckets_per_set_;  ///< a power of two
  std::uint64_t seed_;           ///< keeps a guest from choosing keys that collide
  std::unique_ptr<Shared> shared_;
};

}  // namespace glasshook::capture
