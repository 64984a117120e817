#include "capture/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "capture/ring_memory.h"

namespace glasshook::capture {
namespace {

using Peek = RingConsumer::Peek;

class RingTest : public ::testing::Test {
 protected:
  RingMemory memory;
  RingProducer producer = RingProducer::create(memory.bytes(), nullptr).value();
  RingConsumer consumer = RingConsumer::attach(memory.bytes()).value();
  std::vector<std::byte> buffer = std::vector<std::byte>(kMaxRecordBytes);
  std::size_t size = 0;

  RecordView view;
  Peek peek() {
    const Peek result = consumer.peek(buffer, size);
    if (result == Peek::record) {
      EXPECT_TRUE(RecordView::parse(std::span{buffer}.first(size), view));
    }
    return result;
  }
};

TEST_F(RingTest, HandsRecordsOverInOrder) {
  EXPECT_EQ(peek(), Peek::empty);
  EXPECT_FALSE(consumer.has_data());
  EXPECT_TRUE(push_at(producer, 10));
  EXPECT_TRUE(push_at(producer, 20, 800));
  EXPECT_TRUE(consumer.has_data());
  ASSERT_EQ(peek(), Peek::record);
  EXPECT_EQ(view.header().timestamp, 10u);
  EXPECT_EQ(view.header().sequence, 0u);
  ASSERT_EQ(peek(), Peek::record) << "peeking takes nothing out";
  EXPECT_EQ(view.header().timestamp, 10u);
  consumer.pop();
  ASSERT_EQ(peek(), Peek::record);
  EXPECT_EQ(view.header().timestamp, 20u);
  EXPECT_EQ(view.header().sequence, 1u);
  EXPECT_EQ(view.fields()[0].data.size(), 800u);
  consumer.pop();
  EXPECT_EQ(peek(), Peek::empty);
  EXPECT_EQ(consumer.pushed(), 2u);
}

TEST_F(RingTest, LosesAndCountsWhenFull) {
  std::uint64_t pushed = 0;
  while (push_at(producer, pushed, 1000)) ++pushed;
  EXPECT_EQ(pushed, kMinRingData / (sizeof(RecordHeader) + sizeof(FieldHeader) + 1000));
  EXPECT_FALSE(push_at(producer, 1, 1000));
  EXPECT_EQ(consumer.dropped(), 2u);
  EXPECT_EQ(consumer.pushed(), pushed);
  for (std::uint64_t i = 0; i < pushed; ++i) {
    ASSERT_EQ(peek(), Peek::record);
    EXPECT_EQ(view.header().sequence, i);
    consumer.pop();
  }
  EXPECT_TRUE(push_at(producer, 2));
  ASSERT_EQ(peek(), Peek::record);
  EXPECT_EQ(view.header().sequence, pushed + 2) << "lost records use up their numbers";
}

TEST_F(RingTest, WrapsAround) {
  std::mt19937 random(6);
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const auto payload = static_cast<std::uint16_t>(random() % 400 * 8);
    ASSERT_TRUE(push_at(producer, i, payload));
    ASSERT_EQ(peek(), Peek::record);
    ASSERT_EQ(view.header().timestamp, i);
    ASSERT_EQ(view.fields()[0].data.size(), payload);
    ASSERT_TRUE(std::ranges::all_of(view.fields()[0].data,
                                    [](std::byte b) { return b == std::byte{0x55}; }));
    consumer.pop();
  }
}

TEST_F(RingTest, TwoThreadsLoseNothingUncounted) {
  constexpr std::uint64_t kRecords = 1'000'000;
  std::jthread writer([&] {
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      auto record = make_record(i, static_cast<std::uint16_t>(i % 5 * 8));
      producer.push(record);
      if (i % 64 == 0) std::this_thread::yield();
    }
  });
  std::uint64_t seen = 0, next = 0;
  while (next < kRecords) {
    const Peek result = peek();
    if (result == Peek::record) {
      ASSERT_EQ(view.header().sequence, view.header().timestamp);
      ASSERT_GE(view.header().sequence, next);
      ASSERT_EQ(view.fields()[0].data.size(), view.header().sequence % 5 * 8);
      next = view.header().sequence + 1;
      ++seen;
      consumer.pop();
    } else {
      ASSERT_EQ(result, Peek::empty);
      if (consumer.pushed() + consumer.dropped() == kRecords && !consumer.has_data()) break;
      std::this_thread::yield();
    }
  }
  writer.join();
  EXPECT_EQ(seen, consumer.pushed());
  EXPECT_EQ(seen + consumer.dropped(), kRecords);
}

TEST_F(RingTest, RefusesMemoryThatIsNoRing) {
  std::vector<std::byte> small(100);
  EXPECT_FALSE(RingProducer::create(small, nullptr));
  EXPECT_FALSE(RingProducer::create(memory.bytes().subspan(8), nullptr));
  EXPECT_FALSE(RingConsumer::attach(small));
  const auto with = [&](auto change) {
    RingMemory other;
    (void)RingProducer::create(other.bytes(), nullptr);
    change(other.header());
    return RingConsumer::attach(other.bytes());
  };
  EXPECT_TRUE(with([](RingHeader&) {}));
  EXPECT_FALSE(with([](RingHeader& h) { h.magic = 0; }));
  EXPECT_FALSE(with([](RingHeader& h) { h.version = 2; }));
  EXPECT_FALSE(with([](RingHeader& h) { h.data_size = 0; }));
  EXPECT_FALSE(with([](RingHeader& h) { h.data_size *= 2; }));
  EXPECT_FALSE(with([](RingHeader& h) { h.data_size -= 8; }));
  EXPECT_FALSE(with([](RingHeader& h) { h.data_size = std::uint64_t{1} << 63; }));
}

TEST_F(RingTest, SkipsWildPositions) {
  for (const std::uint64_t head : {kMinRingData + 8, ~std::uint64_t{0}, ~std::uint64_t{7},
                                   std::uint64_t{4}, std::uint64_t{16}}) {
    const std::uint64_t tail = memory.header().tail;
    memory.header().head = tail + head;
    EXPECT_EQ(peek(), Peek::malformed) << head;
    EXPECT_EQ(peek(), Peek::empty);
    EXPECT_EQ(memory.header().tail, tail + head) << "goes on at the producer's position";
    memory.header().head = (tail + head + 7) & ~7ull;
    if (peek() == Peek::malformed) {
      EXPECT_EQ(peek(), Peek::empty);
    }
  }
}

TEST_F(RingTest, SkipsWildSizes) {
  for (const std::uint32_t wild : {0u, 8u, 39u, 41u, 0xffff'fff8u, kMaxRecordBytes + 8}) {
    const std::uint64_t at = memory.header().head & (kMinRingData - 1);
    push_at(producer, 1);
    push_at(producer, 2);
    std::memcpy(memory.data() + at, &wild, sizeof wild);
    EXPECT_EQ(peek(), Peek::malformed) << wild;
    EXPECT_EQ(peek(), Peek::empty) << "what followed is not looked at";
    push_at(producer, 3);
    ASSERT_EQ(peek(), Peek::record) << "later records are";
    EXPECT_EQ(view.header().timestamp, 3u);
    consumer.pop();
  }
}

TEST_F(RingTest, SizesBeyondWhatWasPublishedAreMalformed) {
  push_at(producer, 1, 8);
  const std::uint32_t size = 64;
  std::memcpy(memory.data(), &size, sizeof size);
  EXPECT_EQ(peek(), Peek::malformed);
}

TEST_F(RingTest, AWildConsumerOnlyLosesRecords) {
  for (const std::uint64_t tail : {~std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{1} << 40}) {
    memory.header().tail = tail;
    for (int i = 0; i < 500; ++i) push_at(producer, 1, 400);
  }
  EXPECT_GT(producer.dropped(), 0u);
}

TEST_F(RingTest, AttachesWhereAnEarlierConsumerStopped) {
  push_at(producer, 1);
  push_at(producer, 2);
  ASSERT_EQ(peek(), Peek::record);
  consumer.pop();
  consumer = RingConsumer::attach(memory.bytes()).value();
  ASSERT_EQ(peek(), Peek::record);
  EXPECT_EQ(view.header().timestamp, 2u);
}

TEST_F(RingTest, SkipsWhatIsThereAndWhatIsAnnounced) {
  EXPECT_TRUE(push_at(producer, 10));
  (void)producer.begin([] { return std::uint64_t{20}; });
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(push_at(producer, 20));
    producer.end();
  });
  consumer.skip_all(std::chrono::steady_clock::now() + std::chrono::seconds(10));
  EXPECT_EQ(peek(), Peek::empty);
  late.join();
  EXPECT_EQ(peek(), Peek::empty) << "the announced one was waited for";
  EXPECT_TRUE(push_at(producer, 30));
  ASSERT_EQ(peek(), Peek::record);
  EXPECT_EQ(view.header().timestamp, 30u);
}

TEST_F(RingTest, SkippingGivesUpOnAStuckProducer) {
  (void)producer.begin([] { return std::uint64_t{20}; });
  EXPECT_TRUE(push_at(producer, 20));
  consumer.skip_all(std::chrono::steady_clock::now());
  EXPECT_EQ(peek(), Peek::empty);
}

TEST_F(RingTest, WatermarkFollowsTheFlight) {
  constexpr std::uint64_t kPatience = 1000;
  EXPECT_EQ(consumer.watermark(100, kPatience), 100u) << "nothing in flight";
  std::uint64_t announced = 0;
  const std::uint64_t stamp = producer.begin([&] {
    announced = consumer.watermark(200, kPatience);
    return std::uint64_t{150};
  });
  EXPECT_EQ(announced, 100u) << "the timestamp is not known yet";
  EXPECT_EQ(consumer.watermark(300, kPatience), stamp);
  producer.end();
  EXPECT_EQ(consumer.watermark(310, kPatience), 310u);
  EXPECT_EQ(consumer.watermark(305, kPatience), 310u) << "never goes back";
}

TEST_F(RingTest, WatermarkGivesUpOnAStuckProducer) {
  (void)consumer.watermark(100, 50);
  memory.header().in_flight = 1;
  EXPECT_EQ(consumer.watermark(110, 50), 100u);
  EXPECT_EQ(consumer.watermark(160, 50), 100u);
  EXPECT_EQ(consumer.watermark(161, 50), 161u);
  memory.header().in_flight = 170;
  EXPECT_EQ(consumer.watermark(180, 50), 170u);
  memory.header().in_flight = ~std::uint64_t{0};
  EXPECT_EQ(consumer.watermark(190, 50), 190u) << "not beyond now";
}

TEST(Doorbell, WakesTheSleeper) {
  Doorbell bell;
  std::atomic<bool> there{false};
  std::jthread ringer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    there = true;
    bell.ring();
  });
  while (!there) bell.wait(std::chrono::minutes(10), [&] { return there.load(); });
}

TEST(Doorbell, DoesNotSleepWhenSomethingIsThere) {
  Doorbell bell;
  bell.wait(std::chrono::hours(1), [] { return true; });
  bell.wait(std::chrono::nanoseconds(-5), [] { return false; });
  bell.wait(std::chrono::milliseconds(1), [] { return false; });
}

}  // namespace
}  // namespace glasshook::capture
