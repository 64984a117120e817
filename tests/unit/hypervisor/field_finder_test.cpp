#include "hypervisor/qemu/field_finder.h"

#include <gtest/gtest.h>

#include <array>

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::uint64_t kRoot = 0x1234000, kOther = 0x5678000;

/// A structure of 64 words with the register at word 20.
struct Structure {
  std::array<std::uint64_t, 64> words{};

  void observe(FieldFinder& finder, std::uint64_t value, int times = 1) {
    words[20] = value;
    for (int i = 0; i < times; ++i) finder.observe(words.data(), 17, 64, value);
  }
};

TEST(FieldFinder, ProvesAPlaceThatHoldsTheValueTimeAndAgain) {
  Structure s;
  FieldFinder finder;
  s.observe(finder, kRoot, FieldFinder::kWanted - 1);
  EXPECT_FALSE(finder.proven());
  s.observe(finder, kRoot);
  ASSERT_TRUE(finder.proven());
  EXPECT_EQ(finder.index(), 20u);
}

TEST(FieldFinder, WaitsWhileACopyStandsElsewhere) {
  Structure s;
  FieldFinder finder;
  s.words[40] = kRoot;
  s.observe(finder, kRoot, 10 * FieldFinder::kWanted);
  EXPECT_FALSE(finder.proven());
  s.observe(finder, kOther);  // the copy is stale now
  ASSERT_TRUE(finder.proven());
  EXPECT_EQ(finder.index(), 20u);
}

TEST(FieldFinder, LearnsNothingFromSmallNumbersOrFromWordsBeforeTheFirst) {
  Structure s;
  FieldFinder finder;
  s.observe(finder, 1, 10 * FieldFinder::kWanted);
  EXPECT_FALSE(finder.proven());
  s.words[3] = kRoot;
  s.observe(finder, kRoot, FieldFinder::kWanted);
  ASSERT_TRUE(finder.proven());
  EXPECT_EQ(finder.index(), 20u);
}

TEST(FieldFinder, BeginsAnewWhenNoPlaceIsLeft) {
  Structure s;
  FieldFinder finder;
  finder.observe(s.words.data(), 17, 64, kRoot);  // nowhere
  s.words[30] = kRoot;
  finder.observe(s.words.data(), 17, 64, kRoot);
  s.words[30] = 0;  // not the register after all
  s.observe(finder, kOther, FieldFinder::kWanted - 1);
  EXPECT_FALSE(finder.proven()) << "what was seen before counts for nothing";
  s.observe(finder, kOther);
  EXPECT_TRUE(finder.proven());
}

TEST(FieldFinder, IsSettledWithSeveralPlacesThatAlwaysHeldTheValue) {
  Structure s;
  FieldFinder finder;
  s.words[40] = kRoot;
  s.observe(finder, kRoot, FieldFinder::kWanted - 1);
  EXPECT_FALSE(finder.settled());
  s.observe(finder, kRoot);
  EXPECT_TRUE(finder.settled());
  EXPECT_EQ(finder.index(), 20u);
  s.words[40] = 0;
  s.words[20] = 0;
  finder.observe(s.words.data(), 17, 64, kRoot);
  EXPECT_FALSE(finder.settled());
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
