#include "capture/set_table.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "capture/rate_limiter.h"

namespace glasshook::capture {
namespace {

TEST(SetTable, AddsFindsAndRemoves) {
  SetTable sets = SetTable::create(100).value();
  for (const std::uint64_t key : {0ull, 1ull, ~0ull, 0xffff'8880'1234'5678ull}) {
    EXPECT_FALSE(sets.has(1, key));
    EXPECT_TRUE(sets.add(1, key));
    EXPECT_TRUE(sets.add(1, key)) << "again";
    EXPECT_TRUE(sets.has(1, key));
    EXPECT_FALSE(sets.has(0, key)) << "another set";
    EXPECT_FALSE(sets.has(2, key));
    EXPECT_TRUE(sets.remove(1, key));
    EXPECT_FALSE(sets.remove(1, key));
    EXPECT_FALSE(sets.has(1, key));
  }
}

TEST(SetTable, HoldsWhatItPromises) {
  SetTable sets = SetTable::create().value();
  for (std::uint64_t key = 0; key < SetTable::kDefaultCapacity; ++key)
    ASSERT_TRUE(sets.add(63, key * 64));
  for (std::uint64_t key = 0; key < SetTable::kDefaultCapacity; ++key)
    ASSERT_TRUE(sets.has(63, key * 64));
  EXPECT_FALSE(sets.has(63, 1));
  EXPECT_EQ(sets.rejected(), 0u);
}

TEST(SetTable, SaysWhenItIsFull) {
  SetTable sets = SetTable::create(1).value();
  std::uint64_t added = 0;
  for (std::uint64_t key = 1; key <= 100; ++key) added += sets.add(0, key);
  EXPECT_LE(added, 16u);
  EXPECT_EQ(sets.rejected(), 100 - added);
  EXPECT_TRUE(sets.add(1, 5)) << "other sets are not affected";
  for (std::uint64_t key = 1; key <= 100; ++key) sets.remove(0, key);
  EXPECT_TRUE(sets.add(0, 200)) << "removed keys make room";
}

TEST(SetTable, RefusesAbsurdSizes) {
  EXPECT_FALSE(SetTable::create(0));
  EXPECT_FALSE(SetTable::create(std::size_t{1} << 40));
}

TEST(SetTable, DoesNotWearOut) {
  SetTable sets = SetTable::create(64).value();
  for (std::uint64_t key = 1; key < 100'000; ++key) {
    ASSERT_TRUE(sets.add(0, key));
    ASSERT_TRUE(sets.has(0, key));
    if (key > 32) {
      ASSERT_TRUE(sets.remove(0, key - 32));
    }
  }
}

TEST(SetTable, FourThreadsKeepTheirKeysApart) {
  SetTable sets = SetTable::create(4096).value();
  sets.add(0, 7'000'000);
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (std::uint64_t id = 1; id <= 4; ++id)
    threads.emplace_back([&, id] {
      for (std::uint64_t round = 0; round < 50; ++round) {
        for (std::uint64_t i = 0; i < 500; ++i) wrong += !sets.add(0, id * 1'000'000 + i);
        for (std::uint64_t i = 0; i < 500; ++i) wrong += !sets.has(0, id * 1'000'000 + i);
        for (std::uint64_t i = 0; i < 500; ++i) wrong += !sets.remove(0, id * 1'000'000 + i);
        for (std::uint64_t i = 0; i < 500; ++i) wrong += sets.has(0, id * 1'000'000 + i);
        wrong += !sets.has(0, 7'000'000);
      }
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(SetTable, FourThreadsFightingOverOneKeyLeaveNoCopy) {
  SetTable sets = SetTable::create(64).value();
  {
    std::vector<std::jthread> threads;
    for (int id = 0; id < 4; ++id)
      threads.emplace_back([&] {
        for (int i = 0; i < 50'000; ++i) {
          sets.add(0, 42);
          sets.remove(0, 42);
        }
      });
  }
  sets.remove(0, 42);
  EXPECT_FALSE(sets.has(0, 42));
}

TEST(RateLimiter, AllowsABurstThenTheRate) {
  RateLimiterTable limiters(1'000'000);
  limiters.configure(3, 1000, 5);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limiters.take(3, 50));
  EXPECT_FALSE(limiters.take(3, 50));
  EXPECT_FALSE(limiters.take(3, 1049));
  EXPECT_TRUE(limiters.take(3, 1050));
  EXPECT_FALSE(limiters.take(3, 1051));
  EXPECT_EQ(limiters.denied(3), 3u);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limiters.take(3, 1'000'000)) << "full again";
  EXPECT_FALSE(limiters.take(3, 1'000'000));
}

TEST(RateLimiter, KeepsTheRateOverTime) {
  RateLimiterTable limiters(1'000'000);
  limiters.configure(0, 1000, 10);
  int taken = 0;
  for (std::uint64_t now = 0; now < 1'000'000; now += 10) taken += limiters.take(0, now);
  EXPECT_GE(taken, 1000);
  EXPECT_LE(taken, 1010);
}

TEST(RateLimiter, WithoutALimitNothingIsDenied) {
  RateLimiterTable limiters(1'000'000);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiters.take(kLimiterCount - 1, 0));
  limiters.configure(0, 1, 1);
  EXPECT_TRUE(limiters.take(0, 0));
  EXPECT_FALSE(limiters.take(0, 0));
  limiters.configure(0, 0, 0);
  EXPECT_TRUE(limiters.take(0, 0)) << "the limit was lifted";
}

TEST(RateLimiter, ABurstOfZeroMeansOne) {
  RateLimiterTable limiters(1'000'000);
  limiters.configure(0, 1, 0);
  EXPECT_TRUE(limiters.take(0, 0));
  EXPECT_FALSE(limiters.take(0, 0));
}

TEST(RateLimiter, ThreadsShareOneBucket) {
  RateLimiterTable limiters(1'000'000);
  limiters.configure(0, 1, 1000);
  std::atomic<int> taken{0};
  {
    std::vector<std::jthread> threads;
    for (int id = 0; id < 4; ++id)
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) taken += limiters.take(0, 5);
      });
  }
  EXPECT_EQ(taken, 1000);
}

}  // namespace
}  // namespace glasshook::capture
