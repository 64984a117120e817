// A byte ring in shared memory: one producer (a vCPU in the probe), one consumer (the monitor).
//
// Time order over several rings: a producer says "in flight" before it takes a record's timestamp
// and takes that back after publishing it, so the consumer knows a time before which nothing can
// appear any more (watermark).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/result.h"
#include "capture/doorbell.h"
#include "capture/record.h"

namespace glasshook::capture {

inline constexpr std::uint64_t kRingMagic = 0x676e'6972'6b68'7367;  ///< "gshkring"
inline constexpr std::uint32_t kRingVersion = 1;
inline constexpr std::size_t kMinRingData = std::size_t{64} << 10;
inline constexpr std::size_t kMaxRingData = std::size_t{1} << 30;

/// What stands at the start of a ring's memory; the data follows. Positions count bytes since the
/// ring was made and never wrap in practice (2^64).
struct RingHeader {
  std::uint64_t magic = kRingMagic;
  std::uint32_t version = kRingVersion;
  std::uint32_t reserved = 0;
  std::uint64_t data_size = 0;  ///< a power of two

  alignas(64) std::atomic<std::uint64_t> head{0};  ///< written up to here; by the producer
  std::atomic<std::uint64_t> in_flight{0};  ///< 0: no, 1: timestamp not yet known, else timestamp
  std::atomic<std::uint64_t> pushed{0};     ///< records published
  std::atomic<std::uint64_t> dropped{0};    ///< records lost because the ring was full

  alignas(64) std::atomic<std::uint64_t> tail{0};  ///< read up to here; by the consumer
};
static_assert(sizeof(RingHeader) == 192 && std::atomic<std::uint64_t>::is_always_lock_free);

/// Memory a ring with `data_size` bytes of data needs.
[[nodiscard]] constexpr std::size_t ring_bytes(std::size_t data_size) {
  return sizeof(RingHeader) + data_size;
}

/// The writing end. Used by one thread at a time; never waits, locks or allocates. Nothing the
/// consumer writes can make it write outside the ring.
class RingProducer {
 public:
  /// Makes an empty ring in `memory` (64-aligned; outlives this object): the data takes the largest
  /// power of two that fits. `doorbell` (may be null) is rung after every record.
  [[nodiscard]] static Result<RingProducer> create(std::span<std::byte> memory, Doorbell* doorbell);

  /// Announces a record and takes its timestamp: `now()` is the clock of the consumer's watermark
  /// and must not read it early (x86: `lfence; rdtsc` or `rdtscp`). Needed before push() only:
  /// a hit that is filtered out costs nothing here.
  template <class Now>
  [[nodiscard]] std::uint64_t begin(Now&& now) noexcept {
    header_->in_flight.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint64_t timestamp = now();
    header_->in_flight.store(timestamp, std::memory_order_release);
    return timestamp;
  }

  /// True when a record of that size would fit now.
  [[nodiscard]] bool has_room(std::size_t bytes) noexcept {
    return fits(bytes) || fits_by_now(bytes);
  }

  /// Numbers the record (RecordHeader::sequence) and publishes it. False when there is no room:
  /// the record is lost and counted, and its number is used up.
  bool push(std::span<std::byte> record) noexcept {
    const std::uint64_t sequence = pushed_ + dropped_;
    std::memcpy(record.data() + offsetof(RecordHeader, sequence), &sequence, sizeof sequence);
    if (!has_room(record.size())) [[unlikely]] {
      header_->dropped.store(++dropped_, std::memory_order_relaxed);
      return false;
    }
    const std::uint64_t at = head_ & (data_size_ - 1);
    const std::size_t before_wrap = std::min<std::uint64_t>(record.size(), data_size_ - at);
    std::memcpy(data_ + at, record.data(), before_wrap);
    if (before_wrap < record.size()) [[unlikely]]
      std::memcpy(data_, record.data() + before_wrap, record.size() - before_wrap);
    head_ += record.size();
    header_->head.store(head_, std::memory_order_release);
    header_->pushed.store(++pushed_, std::memory_order_relaxed);
    return true;
  }

  /// Ends what begin() announced and wakes the consumer when it sleeps.
  void end() noexcept {
    header_->in_flight.store(0, std::memory_order_release);
    if (doorbell_ != nullptr) doorbell_->ring();
  }

  [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  RingProducer(RingHeader* header, std::byte* data, std::uint64_t data_size, Doorbell* doorbell)
      : header_(header), data_(data), data_size_(data_size), doorbell_(doorbell) {}

  /// A tail that makes no sense (the consumer was taken over) reads as a full ring.
  [[nodiscard]] bool fits(std::size_t bytes) const noexcept {
    const std::uint64_t used = head_ - seen_tail_;
    return used <= data_size_ && bytes <= data_size_ - used;
  }
  /// The same after another look at the consumer's end.
  [[nodiscard]] bool fits_by_now(std::size_t bytes) noexcept;

  // Own copies: what stands in shared memory is for the other side to read.
  RingHeader* header_;
  std::byte* data_;
  std::uint64_t data_size_;
  Doorbell* doorbell_;
  std::uint64_t head_ = 0;
  std::uint64_t seen_tail_ = 0;
  std::uint64_t pushed_ = 0;
  std::uint64_t dropped_ = 0;
};

/// The reading end. Takes everything in the ring for hostile: positions and sizes are copied, then
/// checked, and a record is copied to private memory before anyone looks at it.
class RingConsumer {
 public:
  /// Opens a ring made by a producer. ErrorCode::protocol when the memory holds no ring of this
  /// version.
  [[nodiscard]] static Result<RingConsumer> attach(std::span<std::byte> memory);

  /// Leaves out all that is there, and what the producer has announced, which is waited for until
  /// then.
  void skip_all(std::chrono::steady_clock::time_point until) noexcept;

  enum class Peek : std::uint8_t {
    empty,
    record,     ///< a copy of the oldest record is in the buffer
    malformed,  ///< positions or a size made no sense; what was in the ring is skipped
  };

  /// Copies the oldest record into `buffer` (at least kMaxRecordBytes); `size` is its size. The
  /// record itself is not checked (see RecordView::parse).
  [[nodiscard]] Peek peek(std::span<std::byte> buffer, std::size_t& size) noexcept;

  /// Frees the record that peek() copied.
  void pop() noexcept;

  /// True when peek() would find something.
  [[nodiscard]] bool has_data() const noexcept {
    return header_->head.load(std::memory_order_acquire) != tail_;
  }

  /// A time before which no further record can appear; read it before peek(). `now` is the clock's
  /// time read just before. Never goes back. A producer that stays in flight for more than
  /// `patience` ticks is no longer waited for.
  [[nodiscard]] std::uint64_t watermark(std::uint64_t now, std::uint64_t patience) noexcept;

  /// Counters as the producer tells them.
  [[nodiscard]] std::uint64_t pushed() const noexcept { return header_->pushed; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return header_->dropped; }

 private:
  RingConsumer(RingHeader* header, const std::byte* data, std::uint64_t data_size)
      : header_(header), data_(data), data_size_(data_size) {}
  void move_tail(std::uint64_t tail) noexcept;

  RingHeader* header_;
  const std::byte* data_;
  std::uint64_t data_size_;
  std::uint64_t tail_ = 0;
  std::size_t peeked_ = 0;  ///< size of the record peek() copied
  std::uint64_t watermark_ = 0;
  std::uint64_t flight_ = 0;        ///< in_flight as last seen
  std::uint64_t flight_since_ = 0;  ///< when it was first seen so
};

}  // namespace glasshook::capture
