#include "capture/ring.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <thread>

#include "capture/program.h"

namespace glasshook::capture {
namespace {

bool is_record_size(std::uint64_t size) {
  return size >= sizeof(RecordHeader) && size <= kMaxRecordBytes && size % 8 == 0;
}

}  // namespace

Result<RingProducer> RingProducer::create(std::span<std::byte> memory, Doorbell* doorbell) {
  if (memory.size() < ring_bytes(kMinRingData))
    return fail(ErrorCode::invalid_argument, "a ring needs {} bytes or more, not {}",
                ring_bytes(kMinRingData), memory.size());
  if (reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(RingHeader) != 0)
    return fail(ErrorCode::invalid_argument, "the memory of a ring is not aligned");
  const std::size_t data_size =
      std::min(std::bit_floor(memory.size() - sizeof(RingHeader)), kMaxRingData);
  auto* header = new (memory.data()) RingHeader;
  header->data_size = data_size;
  return RingProducer(header, memory.data() + sizeof(RingHeader), data_size, doorbell);
}

bool RingProducer::fits_by_now(std::size_t bytes) noexcept {
  seen_tail_ = header_->tail.load(std::memory_order_acquire);
  return fits(bytes);
}

Result<RingConsumer> RingConsumer::attach(std::span<std::byte> memory) {
  if (memory.size() < ring_bytes(kMinRingData) ||
      reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(RingHeader) != 0)
    return fail(ErrorCode::protocol, "{} bytes cannot hold a ring", memory.size());
  auto* header = reinterpret_cast<RingHeader*>(memory.data());
  const std::uint64_t magic = header->magic;
  const std::uint32_t version = header->version;
  const std::uint64_t data_size = header->data_size;
  if (magic != kRingMagic) return fail(ErrorCode::protocol, "the memory holds no ring");
  if (version != kRingVersion)
    return fail(ErrorCode::protocol, "the ring has version {}; this program reads version {}",
                version, kRingVersion);
  if (!std::has_single_bit(data_size) || data_size < kMinRingData || data_size > kMaxRingData ||
      data_size > memory.size() - sizeof(RingHeader))
    return fail(ErrorCode::protocol, "the ring claims {} bytes of data in {} bytes of memory",
                data_size, memory.size());
  RingConsumer consumer(header, memory.data() + sizeof(RingHeader), data_size);
  consumer.tail_ = header->tail.load(std::memory_order_relaxed);
  return consumer;
}

void RingConsumer::move_tail(std::uint64_t tail) noexcept {
  tail_ = tail;
  peeked_ = 0;
  header_->tail.store(tail_, std::memory_order_release);
}

void RingConsumer::skip_all(std::chrono::steady_clock::time_point until) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  while (header_->in_flight.load(std::memory_order_acquire) != 0 &&
         std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  move_tail(header_->head.load(std::memory_order_acquire));
}

RingConsumer::Peek RingConsumer::peek(std::span<std::byte> buffer, std::size_t& size) noexcept {
  const std::uint64_t head = header_->head.load(std::memory_order_acquire);
  const std::uint64_t available = head - tail_;
  if (available == 0) return Peek::empty;
  const std::uint64_t at = tail_ & (data_size_ - 1);
  std::uint32_t record_size = 0;
  // Positions are multiples of 8, so the size never wraps.
  if (available <= data_size_ && head % 8 == 0 && tail_ % 8 == 0)
    std::memcpy(&record_size, data_ + at, sizeof record_size);
  if (!is_record_size(record_size) || record_size > available || record_size > buffer.size()) {
    move_tail(head);
    return Peek::malformed;
  }
  const std::size_t before_wrap = std::min<std::uint64_t>(record_size, data_size_ - at);
  std::memcpy(buffer.data(), data_ + at, before_wrap);
  std::memcpy(buffer.data() + before_wrap, data_, record_size - before_wrap);
  size = peeked_ = record_size;
  return Peek::record;
}

void RingConsumer::pop() noexcept { move_tail(tail_ + peeked_); }

std::uint64_t RingConsumer::watermark(std::uint64_t now, std::uint64_t patience) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const std::uint64_t flight = header_->in_flight.load(std::memory_order_acquire);
  if (flight != flight_) {
    flight_ = flight;
    flight_since_ = now;
  }
  const bool given_up = flight != 0 && now - flight_since_ > patience && now > flight_since_;
  std::uint64_t mark = now;
  if (flight == 1 && !given_up) mark = watermark_;
  if (flight > 1 && !given_up) mark = std::min(flight, now);
  watermark_ = std::max(watermark_, mark);
  return watermark_;
}

}  // namespace glasshook::capture
