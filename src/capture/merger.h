// Brings the records of several rings into one order.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "capture/doorbell.h"
#include "capture/program.h"
#include "capture/record.h"
#include "capture/ring.h"

namespace glasshook::capture {

/// Reads all rings of one VM. Records come out in the order of their timestamps, each once it is
/// certain that no earlier one can appear in another ring. Used by one thread.
class RingMerger {
 public:
  using Clock = std::function<std::uint64_t()>;         ///< the producers' clock
  using Sink = std::function<void(const RecordView&)>;  ///< the record is borrowed for the call

  /// What was seen since the start.
  struct Counters {
    std::uint64_t records = 0;    ///< handed over
    std::uint64_t lost = 0;       ///< missing sequence numbers: dropped by a full ring or skipped
    std::uint64_t malformed = 0;  ///< records, or whole ring contents, that were nonsense
    std::uint64_t late = 0;       ///< handed over after a record with a later timestamp
  };

  /// `patience` (clock ticks): how long one producer in the middle of a record may hold up the
  /// others, and how far a timestamp may lie ahead of the clock.
  RingMerger(std::vector<RingConsumer> rings, Clock clock, std::uint64_t patience);

  /// Hands over what is complete, at most `limit` records; the number.
  std::size_t drain(const Sink& sink, std::size_t limit = kDefaultLimit);

  /// The same, but waits up to `timeout` for the first record. The producers ring `doorbell`.
  std::size_t poll(const Sink& sink, Doorbell& doorbell, std::chrono::milliseconds timeout);

  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] const std::vector<RingConsumer>& rings() const { return rings_; }

 private:
  using SteadyClock = std::chrono::steady_clock;

  static constexpr std::size_t kDefaultLimit = 16384;
  /// While records keep coming the reader looks by itself: being woken for each would cost the
  /// guest more than the record. Looking a few times costs as much as being woken once.
  static constexpr SteadyClock::duration kBusy = std::chrono::milliseconds(3);
  static constexpr SteadyClock::duration kNap = std::chrono::milliseconds(1);
  static constexpr int kMaxSkipped = 64;

  /// A ring's oldest record, copied and checked.
  struct Front {
    std::unique_ptr<std::byte[]> buffer = std::make_unique<std::byte[]>(kMaxRecordBytes);
    RecordView record;
    bool full = false;
    std::uint64_t next_sequence = 0;
  };

  [[nodiscard]] bool anything_there() const;
  [[nodiscard]] std::uint64_t low_watermark();
  [[nodiscard]] bool is_plausible(std::uint64_t timestamp);
  void fill(std::size_t ring);
  [[nodiscard]] std::size_t oldest() const;
  void hand_over(std::size_t ring, const Sink& sink);

  static constexpr std::size_t kNone = ~std::size_t{0};

  std::vector<RingConsumer> rings_;
  std::vector<Front> fronts_;
  Clock clock_;
  std::uint64_t patience_;
  std::uint64_t now_ = 0;  ///< the clock as last read
  std::uint64_t last_timestamp_ = 0;
  SteadyClock::time_point last_busy_{};  ///< when records were last handed over
  Counters counters_;
};

}  // namespace glasshook::capture
