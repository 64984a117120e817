#include "capture/set_table.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <random>

namespace glasshook::capture {
namespace {

/// Spreads a key over 64 bits (the finaliser of SplitMix64).
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

template <class Bucket>
std::size_t free_slots(const Bucket& bucket) {
  std::size_t count = 0;
  for (const auto& slot : bucket.slots) count += slot.load(std::memory_order_relaxed) == 0;
  return count;
}

template <class Bucket>
bool contains(const Bucket& bucket, std::uint64_t key) {
  bool found = false;
  for (const auto& slot : bucket.slots) found |= slot.load(std::memory_order_relaxed) == key;
  return found;
}

template <class Bucket>
bool claim(Bucket& bucket, std::uint64_t key) {
  for (auto& slot : bucket.slots) {
    std::uint64_t free = 0;
    if (slot.compare_exchange_strong(free, key, std::memory_order_relaxed)) return true;
  }
  return false;
}

}  // namespace

void SetTable::Unmap::operator()(Bucket* buckets) const noexcept { ::munmap(buckets, bytes); }

SetTable::SetTable(std::unique_ptr<Bucket[], Unmap> buckets, std::size_t buckets_per_set,
                   std::uint64_t seed)
    : buckets_(std::move(buckets)),
      buckets_per_set_(buckets_per_set),
      seed_(seed),
      shared_(std::make_unique<Shared>()) {}

Result<SetTable> SetTable::create(std::size_t keys_per_set) {
  constexpr std::size_t kMaxCapacity = std::size_t{1} << 24;
  if (keys_per_set == 0 || keys_per_set > kMaxCapacity)
    return fail(ErrorCode::invalid_argument, "a set cannot have room for {} keys (1 to {})",
                keys_per_set, kMaxCapacity);
  // At most half full, two choices of bucket make an overflow practically impossible.
  const std::size_t per_set =
      std::max<std::size_t>(2, std::bit_ceil(keys_per_set * 2) / kBucketSlots);
  const std::size_t bytes = kSetCount * per_set * sizeof(Bucket);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return fail(ErrorCode::limit, "cannot reserve {} bytes for filter sets", bytes);
  std::random_device random;
  const std::uint64_t seed = std::uint64_t{random()} << 32 | random();
  return SetTable({static_cast<Bucket*>(memory), Unmap{bytes}}, per_set, seed);
}

SetTable::Pair SetTable::buckets_of(std::uint32_t set, std::uint64_t key) const noexcept {
  const std::uint64_t hash = mix(key ^ seed_);
  const std::size_t mask = buckets_per_set_ - 1;
  Bucket* const first = &buckets_[set * buckets_per_set_];
  return {first + (hash & mask), first + ((hash >> 32) & mask)};
}

bool SetTable::has(std::uint32_t set, std::uint64_t key) const noexcept {
  if (key == 0) return (shared_->zero_members.load(std::memory_order_relaxed) >> set & 1) != 0;
  const auto [one, other] = buckets_of(set, key);
  return contains(*one, key) || contains(*other, key);
}

bool SetTable::add(std::uint32_t set, std::uint64_t key) noexcept {
  if (key == 0) {
    shared_->zero_members.fetch_or(std::uint64_t{1} << set, std::memory_order_relaxed);
    return true;
  }
  if (has(set, key)) return true;
  // Two threads adding one key at once may both store it; remove() takes out every copy.
  auto [roomy, other] = buckets_of(set, key);
  if (free_slots(*roomy) < free_slots(*other)) std::swap(roomy, other);
  if (claim(*roomy, key) || claim(*other, key)) return true;
  shared_->rejected.fetch_add(1, std::memory_order_relaxed);
  return false;
}

bool SetTable::remove(std::uint32_t set, std::uint64_t key) noexcept {
  if (key == 0) {
    const std::uint64_t bit = std::uint64_t{1} << set;
    return (shared_->zero_members.fetch_and(~bit, std::memory_order_relaxed) & bit) != 0;
  }
  bool removed = false;
  for (Bucket* bucket : buckets_of(set, key))
    for (Slot& slot : bucket->slots) {
      std::uint64_t expected = key;
      removed |= slot.compare_exchange_strong(expected, 0, std::memory_order_relaxed);
    }
  return removed;
}

}  // namespace glasshook::capture
