#include "hypervisor/probe/ask_again.h"

#include <gtest/gtest.h>

namespace glasshook::hypervisor::probe {
namespace {

constexpr std::uint64_t kTicksPerMs = 1000;

TEST(AskAgain, EveryBlockAsksWhenItRunsFirst) {
  AskAgain again;
  EXPECT_TRUE(again.note(0x10, 0, kTicksPerMs));
  EXPECT_FALSE(again.is_due(0x10, 1));
  EXPECT_TRUE(again.is_due(0x11, 1));
  EXPECT_TRUE(again.is_due(4095, 1));
  EXPECT_TRUE(again.note(4095, 1, kTicksPerMs));
  EXPECT_FALSE(again.is_due(4095, 2));
  EXPECT_FALSE(again.is_due(0x10, 2));
}

TEST(AskAgain, OthersWaitForAPauseThatDoubles) {
  AskAgain again;
  std::uint64_t now = 0;
  for (const std::uint64_t pause : {10, 20, 40, 80}) {
    again.note(0, now, kTicksPerMs);
    EXPECT_FALSE(again.is_due(0, now + pause * kTicksPerMs - 1)) << pause;
    EXPECT_TRUE(again.is_due(0, now + pause * kTicksPerMs)) << pause;
    now += pause * kTicksPerMs;
  }
}

TEST(AskAgain, EndsAfterTheLastAnswer) {
  AskAgain again;
  for (std::uint32_t i = 1; i < AskAgain::kMaxAnswers; ++i)
    ASSERT_TRUE(again.note(static_cast<std::uint16_t>(i), i, kTicksPerMs)) << i;
  EXPECT_FALSE(again.note(0, 0, kTicksPerMs));
  // Pauses stay within their limit.
  EXPECT_TRUE(again.is_due(0, std::uint64_t{AskAgain::kLongestPauseMs} * kTicksPerMs));
}

}  // namespace
}  // namespace glasshook::hypervisor::probe
