#include "cli/values.h"

#include <gtest/gtest.h>

namespace glasshook::cli {
namespace {

using std::chrono::milliseconds;

TEST(ParseSize, KnowsBinaryUnits) {
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("1K"), 1024u);
  EXPECT_EQ(parse_size("512M"), 512u << 20);
  EXPECT_EQ(parse_size("512MiB"), 512u << 20);
  EXPECT_EQ(parse_size("512mb"), 512u << 20);
  EXPECT_EQ(parse_size("3g"), 3ull << 30);
  EXPECT_EQ(parse_size("2T"), 2ull << 40);
}

TEST(ParseSize, CountsBareNumbersInTheGivenUnit) {
  EXPECT_EQ(parse_size("512", 1 << 20), 512u << 20);
  EXPECT_EQ(parse_size("512B", 1 << 20), 512u);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"", "M", "0", "0M", "-1", "+1", "1.5G", "12X", "12 M", "1GG", "0x10",
                           "18446744073709551616", "16777216T"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(ParseDuration, KnowsUnitsAndSums) {
  EXPECT_EQ(parse_duration("30"), milliseconds(30'000));
  EXPECT_EQ(parse_duration("30s"), milliseconds(30'000));
  EXPECT_EQ(parse_duration("1.5m"), milliseconds(90'000));
  EXPECT_EQ(parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(parse_duration("1h30m"), milliseconds(5'400'000));
  EXPECT_EQ(parse_duration("1m30"), milliseconds(90'000));
}

TEST(ParseDuration, RefusesWhatIsNoTimeSpan) {
  for (const char* text : {"", "s", "0", "-1", "1..5", "1 s", "1d", "nan", "inf", "1e3", "9999999h",
                           "0.0001ms", ".", "s1"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace glasshook::cli
