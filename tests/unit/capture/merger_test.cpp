#include "capture/merger.h"

#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "capture/ring_memory.h"

namespace glasshook::capture {
namespace {

using ::testing::ElementsAre;

class MergerTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kRings = 3;
  static constexpr std::uint64_t kPatience = 1000;

  static std::vector<std::unique_ptr<RingMemory>> make_memory() {
    std::vector<std::unique_ptr<RingMemory>> memory;
    for (std::size_t i = 0; i < kRings; ++i) memory.push_back(std::make_unique<RingMemory>());
    return memory;
  }

  std::vector<RingProducer> make_producers() {
    std::vector<RingProducer> made;
    for (auto& m : memory) made.push_back(RingProducer::create(m->bytes(), &bell).value());
    return made;
  }

  RingMerger make_merger(std::uint64_t patience = kPatience) {
    std::vector<RingConsumer> consumers;
    for (auto& m : memory) consumers.push_back(RingConsumer::attach(m->bytes()).value());
    return {std::move(consumers), [this] { return now.load(); }, patience};
  }

  std::vector<std::uint64_t> drained() {
    std::vector<std::uint64_t> times;
    merger.drain([&](const RecordView& r) { times.push_back(r.header().timestamp); });
    return times;
  }

  Doorbell bell;
  std::atomic<std::uint64_t> now{100};
  std::vector<std::unique_ptr<RingMemory>> memory = make_memory();
  std::vector<RingProducer> producers = make_producers();
  RingMerger merger = make_merger();
};

TEST_F(MergerTest, OrdersOverAllRings) {
  push_at(producers[0], 10);
  push_at(producers[0], 40);
  push_at(producers[1], 20);
  push_at(producers[2], 5);
  push_at(producers[1], 30);
  EXPECT_THAT(drained(), ElementsAre(5, 10, 20, 30, 40));
  EXPECT_THAT(drained(), ElementsAre());
  EXPECT_EQ(merger.counters().records, 5u);
  EXPECT_EQ(merger.counters().lost, 0u);
}

TEST_F(MergerTest, WaitsForAProducerInFlight) {
  push_at(producers[0], 10);
  push_at(producers[0], 60);
  auto record = make_record(producers[1].begin([] { return std::uint64_t{50}; }));
  EXPECT_THAT(drained(), ElementsAre(10)) << "50 may still come before 60";
  producers[1].push(record);
  producers[1].end();
  EXPECT_THAT(drained(), ElementsAre(50, 60));
  EXPECT_EQ(merger.counters().late, 0u);
}

TEST_F(MergerTest, AStuckProducerHoldsUpTheOthersForAWhileOnly) {
  (void)drained();
  auto record = make_record(producers[1].begin([] { return std::uint64_t{100}; }));
  push_at(producers[0], 150);
  now = 200;
  EXPECT_THAT(drained(), ElementsAre());
  now = 200 + kPatience + 1;
  EXPECT_THAT(drained(), ElementsAre(150));
  producers[1].push(record);
  producers[1].end();
  EXPECT_THAT(drained(), ElementsAre(100)) << "late, but not lost";
  EXPECT_EQ(merger.counters().late, 1u);
}

TEST_F(MergerTest, CountsGapsAsLost) {
  while (push_at(producers[0], 10, 4000)) {
  }
  push_at(producers[0], 10, 4000);
  const std::size_t kept = drained().size();
  push_at(producers[0], 20);
  EXPECT_THAT(drained(), ElementsAre(20));
  EXPECT_EQ(merger.counters().lost, 2u);
  EXPECT_EQ(merger.counters().records, kept + 1);
}

TEST_F(MergerTest, SkipsMalformedRecordsAndGoesOn) {
  auto bad = make_record(10);
  bad[4] = std::byte{99};  // version
  producers[0].push(bad);
  push_at(producers[0], 20);
  push_at(producers[1], 30);
  EXPECT_THAT(drained(), ElementsAre(20, 30));
  EXPECT_EQ(merger.counters().malformed, 1u);
}

TEST_F(MergerTest, SkipsRecordsFromTheFuture) {
  push_at(producers[0], 100 + kPatience + 1);
  push_at(producers[1], 30);
  (void)drained();
  push_at(producers[0], 50);
  EXPECT_THAT(drained(), ElementsAre(50));
  EXPECT_EQ(merger.counters().malformed, 1u);
}

TEST_F(MergerTest, KeepsRecordsALittleAheadOfTheClock) {
  push_at(producers[0], 110);
  EXPECT_THAT(drained(), ElementsAre());
  now = 110;
  EXPECT_THAT(drained(), ElementsAre(110));
  EXPECT_EQ(merger.counters().malformed, 0u);
}

TEST_F(MergerTest, AWildRingDoesNotDisturbTheOthers) {
  memory[1]->header().head = 12345;
  memory[2]->header().in_flight = ~std::uint64_t{0};
  push_at(producers[0], 10);
  EXPECT_THAT(drained(), ElementsAre(10));
  EXPECT_EQ(merger.counters().malformed, 1u);
}

TEST_F(MergerTest, HandsOverNoMoreThanTheLimit) {
  for (std::uint64_t i = 0; i < 10; ++i) push_at(producers[0], i);
  std::size_t seen = 0;
  EXPECT_EQ(merger.drain([&](const RecordView&) { ++seen; }, 4), 4u);
  EXPECT_EQ(seen, 4u);
  EXPECT_EQ(drained().size(), 6u);
}

TEST_F(MergerTest, PollWaitsForTheFirstRecord) {
  std::size_t seen = 0;
  const auto sink = [&](const RecordView&) { ++seen; };
  EXPECT_EQ(merger.poll(sink, bell, std::chrono::milliseconds(1)), 0u);
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    push_at(producers[2], 50);
  });
  EXPECT_EQ(merger.poll(sink, bell, std::chrono::minutes(10)), 1u);
  EXPECT_EQ(seen, 1u);
}

TEST_F(MergerTest, ThreadsAreMergedInOrderWithoutLateRecords) {
  constexpr std::uint64_t kRecords = 100'000;
  merger = make_merger(1ull << 60);
  std::vector<std::jthread> threads;
  for (RingProducer& producer : producers)
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < kRecords; ++i) {
        auto record = make_record(producer.begin([&] { return ++now; }));
        producer.push(record);
        producer.end();
        if (i % 128 == 0) std::this_thread::yield();
      }
    });
  std::uint64_t last = 0, seen = 0, disorder = 0;
  const auto sink = [&](const RecordView& record) {
    disorder += record.header().timestamp < last;
    last = record.header().timestamp;
    ++seen;
  };
  std::uint64_t lost = 0;
  while (seen + lost < kRings * kRecords) {
    merger.poll(sink, bell, std::chrono::milliseconds(10));
    lost = 0;
    for (const RingConsumer& ring : merger.rings()) lost += ring.dropped();
  }
  EXPECT_EQ(disorder, 0u);
  EXPECT_EQ(merger.counters().late, 0u);
  EXPECT_EQ(merger.counters().malformed, 0u);
  EXPECT_GT(seen, 0u);
}

}  // namespace
}  // namespace glasshook::capture
