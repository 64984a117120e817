#include "behaviour/time_text.h"

#include <gtest/gtest.h>

namespace glasshook::behaviour {
namespace {

using std::chrono::nanoseconds;
using std::chrono::system_clock;

TEST(TimeText, TellsNanosecondsInUtc) {
  EXPECT_EQ(iso_time(system_clock::time_point{nanoseconds{1'764'144'131'000'000'789}}),
            "2025-11-26T08:02:11.000000789Z");
  EXPECT_EQ(iso_time(system_clock::time_point{nanoseconds{-1}}), "1969-12-31T23:59:59.999999999Z");
}

TEST(TimeText, TellsTheFirstAndTheLastTimesThereAre) {
  EXPECT_EQ(iso_time(system_clock::time_point::min()).substr(0, 10), "1677-09-21");
  EXPECT_EQ(iso_time(system_clock::time_point::max()).substr(0, 10), "2262-04-11");
}

}  // namespace
}  // namespace glasshook::behaviour
