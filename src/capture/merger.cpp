#include "capture/merger.h"

#include <algorithm>
#include <span>
#include <thread>

namespace glasshook::capture {

RingMerger::RingMerger(std::vector<RingConsumer> rings, Clock clock, std::uint64_t patience)
    : rings_(std::move(rings)),
      fronts_(rings_.size()),
      clock_(std::move(clock)),
      patience_(patience) {}

bool RingMerger::anything_there() const {
  return std::ranges::any_of(fronts_, &Front::full) ||
         std::ranges::any_of(rings_, &RingConsumer::has_data);
}

std::uint64_t RingMerger::low_watermark() {
  now_ = clock_();
  std::uint64_t low = now_;
  for (RingConsumer& ring : rings_) low = std::min(low, ring.watermark(now_, patience_));
  return low;
}

bool RingMerger::is_plausible(std::uint64_t timestamp) {
  // A timestamp from the future would hold up its ring for good.
  if (timestamp <= now_) return true;
  now_ = clock_();
  return timestamp <= now_ || timestamp - now_ <= patience_;
}

void RingMerger::fill(std::size_t ring) {
  Front& front = fronts_[ring];
  const std::span buffer{front.buffer.get(), kMaxRecordBytes};
  // What is malformed is skipped here, up to a limit: a producer can write nonsense for ever.
  for (int tries = 0; !front.full && tries < kMaxSkipped; ++tries) {
    std::size_t size = 0;
    const RingConsumer::Peek found = rings_[ring].peek(buffer, size);
    if (found == RingConsumer::Peek::empty) return;
    if (found == RingConsumer::Peek::record) {
      front.full = RecordView::parse(buffer.first(size), front.record) &&
                   is_plausible(front.record.header().timestamp);
      if (front.full) return;
      rings_[ring].pop();
    }
    ++counters_.malformed;
  }
}

std::size_t RingMerger::oldest() const {
  std::size_t best = kNone;
  for (std::size_t i = 0; i < fronts_.size(); ++i)
    if (fronts_[i].full && (best == kNone || fronts_[i].record.header().timestamp <
                                                 fronts_[best].record.header().timestamp))
      best = i;
  return best;
}

void RingMerger::hand_over(std::size_t ring, const Sink& sink) {
  Front& front = fronts_[ring];
  const RecordHeader& header = front.record.header();
  if (header.sequence > front.next_sequence)
    counters_.lost += header.sequence - front.next_sequence;
  front.next_sequence = header.sequence + 1;
  if (header.timestamp < last_timestamp_) ++counters_.late;
  last_timestamp_ = std::max(last_timestamp_, header.timestamp);
  ++counters_.records;
  front.full = false;
  rings_[ring].pop();
  sink(front.record);
}

std::size_t RingMerger::drain(const Sink& sink, std::size_t limit) {
  // Watermarks first: what they promise is published by the time the rings are read.
  const std::uint64_t watermark = low_watermark();
  for (std::size_t i = 0; i < rings_.size(); ++i) fill(i);
  std::size_t count = 0;
  while (count < limit) {
    const std::size_t ring = oldest();
    if (ring == kNone || fronts_[ring].record.header().timestamp > watermark) break;
    hand_over(ring, sink);
    fill(ring);
    ++count;
  }
  return count;
}

std::size_t RingMerger::poll(const Sink& sink, Doorbell& doorbell,
                             std::chrono::milliseconds timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  while (true) {
    const std::size_t count = drain(sink);
    const auto now = SteadyClock::now();
    if (count > 0) {
      last_busy_ = now;
      return count;
    }
    const SteadyClock::duration left = deadline - now;
    if (left.count() <= 0) return 0;
    if (anything_there())
      std::this_thread::sleep_for(std::chrono::microseconds(50));  // held back by a watermark
    else if (now - last_busy_ < kBusy)
      std::this_thread::sleep_for(std::min(left, kNap));
    else
      doorbell.wait(left, [this] { return anything_there(); });
  }
}

}  // namespace glasshook::capture
