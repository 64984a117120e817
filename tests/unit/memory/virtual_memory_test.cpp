#include "memory/virtual_memory.h"

#include <gtest/gtest.h>

#include "memory/test_guest.h"

namespace glasshook {
namespace {

using test::TestGuest;

constexpr Gva kBase{0x40'0000};

class VirtualMemoryTest : public ::testing::Test {
 protected:
  VirtualMemoryTest() : memory(guest, guest.new_space()) {
    // Two pages that touch in the address space but not in RAM; the third is missing.
    first = guest.map_new(memory.space(), kBase);
    guest.new_page();
    second = guest.map_new(memory.space(), kBase + kPageSize);
  }
  TestGuest guest;
  VirtualMemory memory;
  Gpa first, second;
};

TEST_F(VirtualMemoryTest, ReadsAcrossPages) {
  guest.store(first + (kPageSize - 4), std::uint32_t{0x11223344});
  guest.store(second, std::uint32_t{0x55667788});
  EXPECT_EQ(memory.read_value<std::uint64_t>(kBase + kPageSize - 4), 0x5566778811223344);
}

TEST_F(VirtualMemoryTest, StopsAtAMissingPage) {
  std::byte buffer[16];
  EXPECT_EQ(memory.read_some(kBase + 2 * kPageSize - 10, buffer), 10u);
  EXPECT_FALSE(memory.read(kBase + 2 * kPageSize - 10, buffer));
  EXPECT_FALSE(memory.read_value<std::uint8_t>(kBase + 2 * kPageSize));
}

TEST_F(VirtualMemoryTest, ReadsStringsAcrossPages) {
  guest.write(first + (kPageSize - 3), std::string_view("abc"));
  guest.write(second, std::string_view("def\0", 4));
  EXPECT_EQ(memory.read_string(kBase + kPageSize - 3, 100), "abcdef");
  EXPECT_EQ(memory.read_string(kBase + kPageSize - 3, 4), "abcd");
}

TEST_F(VirtualMemoryTest, ReadsStringsWithoutAnEndAsFarAsTheyGo) {
  guest.write(second + (kPageSize - 2), std::string_view("xy"));
  EXPECT_EQ(memory.read_string(kBase + 2 * kPageSize - 2, 100), "xy");
  EXPECT_EQ(memory.read_string(kBase + 2 * kPageSize, 100), std::nullopt);
  const std::string long_text(kPageSize, 'z');
  guest.write(first, std::string_view(long_text));
  EXPECT_EQ(memory.read_string(kBase, 1000), std::string(1000, 'z'));
}

TEST_F(VirtualMemoryTest, SurvivesTheEndOfTheAddressSpace) {
  std::byte buffer[64];
  EXPECT_EQ(memory.read_some(Gva{~0ull - 7}, buffer), 0u);
}

TEST(GuestRam, FindsSegmentsAndRefusesWhatCrossesThem) {
  std::byte low[4096], high[4096];
  GuestRam ram;
  EXPECT_TRUE(ram.add({.begin = Gpa{0}, .size = sizeof low, .host = low}));
  EXPECT_TRUE(ram.add({.begin = Gpa{0x1'0000'0000}, .size = sizeof high, .host = high}));
  EXPECT_FALSE(ram.add({.begin = Gpa{0x10000}, .size = 0, .host = low}));
  EXPECT_EQ(ram.at(Gpa{8}, 8), low + 8);
  EXPECT_EQ(ram.at(Gpa{0x1'0000'0000}, 4096), high);
  EXPECT_EQ(ram.at(Gpa{4092}, 8), nullptr);
  EXPECT_EQ(ram.at(Gpa{4096}, 1), nullptr);
  EXPECT_EQ(ram.at(Gpa{8}, ~0ull), nullptr);
  EXPECT_EQ(ram.at(Gpa{~0ull}, 8), nullptr);
  Gpa gpa;
  EXPECT_TRUE(ram.to_gpa(high + 5, gpa));
  EXPECT_EQ(gpa, Gpa{0x1'0000'0005});
  EXPECT_FALSE(ram.to_gpa(&gpa, gpa));
}

TEST(GuestRam, HoldsALimitedNumberOfSegments) {
  std::byte page[1];
  GuestRam ram;
  for (std::size_t i = 0; i < GuestRam::kMaxSegments; ++i)
    EXPECT_TRUE(ram.add({.begin = Gpa{i}, .size = 1, .host = page}));
  EXPECT_FALSE(ram.add({.begin = Gpa{100}, .size = 1, .host = page}));
}

}  // namespace
}  // namespace glasshook
