#include "monitor/code_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace glasshook::monitor {
namespace {

using ::testing::ElementsAre;

std::vector<std::byte> page() { return std::vector<std::byte>(kPageSize, std::byte{0x90}); }

TEST(CompareCode, NothingWhenItIsTheFiles) {
  EXPECT_FALSE(compare_code(page(), page(), Gva{0x1000}, {}));
  EXPECT_FALSE(compare_code({}, page(), Gva{0x1000}, {}));
}

TEST(CompareCode, SaysWhereAndHowMuch) {
  auto now = page();
  now[0x123] = now[0x130] = now[0xfff] = std::byte{0xcc};
  const auto change = compare_code(page(), now, Gva{0x7000}, {});
  ASSERT_TRUE(change);
  EXPECT_EQ(change->address, 0x7123u);
  EXPECT_EQ(change->bytes, 3u);
  EXPECT_TRUE(change->functions.empty());
}

TEST(CompareCode, NamesFunctionsWhoseBeginningDiffers) {
  auto now = page();
  now[0x20f] = now[0xfff] = std::byte{0xcc};
  const std::vector<NamedEntry> entries{
      {.offset = 0xff8, .name = "libc!last"},    {.offset = 0x200, .name = "libc!b"},
      {.offset = 0x200, .name = "libc!b"},       {.offset = 0x204, .name = "libc!a"},
      {.offset = 0x1ff, .name = "libc!before"},  {.offset = 0x210, .name = "libc!behind"},
      {.offset = 0xffff, .name = "libc!nowhere"}};
  const auto change = compare_code(page(), now, Gva{0x7000}, entries);
  ASSERT_TRUE(change);
  EXPECT_THAT(change->functions, ElementsAre("libc!a", "libc!b", "libc!last"));
}

TEST(CodeChanges, AreTakenOnceByPlaceAndContent) {
  CodeChanges changes;
  changes.put(Gpa{0x1000}, 7, {.path = "/a", .address = 1, .bytes = 1, .functions = {}});
  EXPECT_FALSE(changes.take(Gpa{0x2000}, 7));
  EXPECT_FALSE(changes.take(Gpa{0x1000}, 8));
  EXPECT_TRUE(changes.take(Gpa{0x1000}, 7));
  EXPECT_FALSE(changes.take(Gpa{0x1000}, 7));
}

TEST(CodeChanges, AreBounded) {
  CodeChanges changes;
  for (std::uint64_t i = 0; i <= CodeChanges::kMost; ++i) changes.put(Gpa{i * kPageSize}, i, {});
  EXPECT_FALSE(changes.take(Gpa{0}, 0));
  EXPECT_TRUE(changes.take(Gpa{CodeChanges::kMost * kPageSize}, CodeChanges::kMost));
}

}  // namespace
}  // namespace glasshook::monitor
