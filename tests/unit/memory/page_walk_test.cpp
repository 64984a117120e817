#include "memory/page_walk.h"

#include <gtest/gtest.h>

#include "memory/test_guest.h"
#include "memory/virtual_memory.h"

namespace glasshook {
namespace {

using test::TestGuest;

std::optional<Translation> walk(const TestGuest& guest, AddressSpace space, Gva address) {
  return VirtualMemory(guest, space).translate(address);
}

TEST(PageWalk, FindsA4KPageWithFourLevels) {
  TestGuest guest;
  const AddressSpace space = guest.new_space();
  const Gpa page = guest.map_new(space, Gva{0x7fff'1234'5000});
  const auto found = walk(guest, space, Gva{0x7fff'1234'5678});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->gpa, page + 0x678);
  EXPECT_EQ(found->page_size, kPageSize);
  EXPECT_FALSE(walk(guest, space, Gva{0x7fff'1234'6000}));
}

TEST(PageWalk, FindsAPageWithFiveLevels) {
  TestGuest guest;
  const AddressSpace space = guest.new_space(true);
  const Gva address{0x00ff'1234'5678'9000};
  const Gpa page = guest.map_new(space, address);
  const auto found = walk(guest, space, address + 8);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->gpa, page + 8);
  EXPECT_FALSE(walk(guest, {space.root, false}, address + 8));
}

TEST(PageWalk, FindsLargePages) {
  TestGuest guest;
  const AddressSpace space = guest.new_space();
  guest.map(space, Gva{0xffff'8000'0020'0000}, Gpa{0x20'0000}, 2 << 20);
  guest.map(space, Gva{0xffff'9000'4000'0000}, Gpa{0}, 1 << 30);
  const auto two = walk(guest, space, Gva{0xffff'8000'0021'2345});
  ASSERT_TRUE(two);
  EXPECT_EQ(two->gpa, Gpa{0x21'2345});
  EXPECT_EQ(two->page_size, 2u << 20);
  const auto one = walk(guest, space, Gva{0xffff'9000'4003'4567});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->gpa, Gpa{0x3'4567});
  EXPECT_EQ(one->page_size, 1u << 30);
}

TEST(PageWalk, CombinesRightsOfAllLevels) {
  TestGuest guest;
  const AddressSpace space = guest.new_space();
  const Gva address{0x40'0000};
  guest.map(space, address, guest.new_page(), kPageSize,
            TestGuest::kPresent | TestGuest::kUser | TestGuest::kNoExecute);
  const auto found = walk(guest, space, address);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->user);
  EXPECT_FALSE(found->writable);
  EXPECT_FALSE(found->executable);
}

TEST(PageWalk, RefusesAddressesThatAreNotCanonical) {
  TestGuest guest;
  const AddressSpace space = guest.new_space();
  guest.map_new(space, Gva{0});
  EXPECT_TRUE(walk(guest, space, Gva{0}));
  EXPECT_FALSE(walk(guest, space, Gva{0x0001'0000'0000'0000}));
  EXPECT_FALSE(walk(guest, space, Gva{0x8000'0000'0000'0000}));
}

TEST(PageWalk, SurvivesTablesOutsideRamAndTablesThatPointAtThemselves) {
  TestGuest guest;
  const AddressSpace space = guest.new_space();
  guest.store(space.root, std::uint64_t{0xf'ffff'ffff'f000} | TestGuest::kAllRights);
  EXPECT_FALSE(walk(guest, space, Gva{0}));
  guest.store(space.root, space.root.value | TestGuest::kAllRights);
  const auto loop = walk(guest, space, Gva{0x10});
  ASSERT_TRUE(loop);
  EXPECT_EQ(loop->gpa, space.root + 0x10);
}

}  // namespace
}  // namespace glasshook
