#include "guest/linux/listing.h"

#include <gmock/gmock.h>

#include "fake_kernel.h"
#include "guest/linux/path.h"

namespace glasshook::linux_guest {
namespace {

/// Objects of 64 bytes with a link at byte 16.
class WalkTest : public testing::Test {
 protected:
  WalkTest() {
    for (int i = 0; i < 10; ++i) objects_.push_back(guest_.allocate(64));
    guest_.list_init(head_);
    for (const Gva object : objects_) guest_.list_add(head_, object + 16);
    guest_.finish();
  }
  [[nodiscard]] Listing<Gva> walk(std::size_t limit = 100) const {
    return walk_list(guest_.kernel(), head_, Offset{16}, limit);
  }

  FakeKernel guest_;
  Gva head_ = guest_.allocate(16);
  std::vector<Gva> objects_;
};

TEST_F(WalkTest, FindsTheHoldersOfTheLinks) {
  const auto all = walk();
  EXPECT_EQ(all.items, objects_);
  EXPECT_FALSE(all.incomplete);
}

TEST_F(WalkTest, StopsAtTheLimit) {
  const auto some = walk(4);
  EXPECT_EQ(some.items.size(), 4u);
  EXPECT_EQ(some.incomplete->code, ErrorCode::limit);
}

TEST_F(WalkTest, SeesACycleThatLeavesOutTheHead) {
  for (std::size_t into = 0; into < objects_.size(); ++into) {
    guest_.put(objects_.back() + 16, (objects_[into] + 16).value);
    const auto all = walk(1u << 20);
    EXPECT_EQ(all.items, objects_) << into;
    ASSERT_TRUE(all.incomplete);
    EXPECT_THAT(all.incomplete->message, testing::HasSubstr("circle"));
  }
}

TEST_F(WalkTest, KeepsWhatComesBeforeAWildPointer) {
  for (const std::uint64_t wild : {0ull, 0x1000ull, 0xffff'8880'ffff'0000ull, ~0ull}) {
    guest_.put(objects_[3] + 16, wild);
    const auto some = walk();
    EXPECT_GE(some.items.size(), 4u);
    EXPECT_LE(some.items.size(), 5u);
    EXPECT_EQ(some.incomplete->code, ErrorCode::guest_fault);
  }
}

TEST_F(WalkTest, SaysThatAKernelLacksTheList) {
  EXPECT_EQ(walk_list(guest_.kernel(), head_, {}, 9).incomplete->code, ErrorCode::unsupported);
}

TEST(ListingBudget, IsUsedUpByText) {
  ListingBudget budget;
  EXPECT_TRUE(budget.take(1000));
  int paths = 0;
  while (budget.take(kMaxPathBytes)) ++paths;
  EXPECT_LT(paths, 1000) << "endless paths must not be listed for long";
  EXPECT_FALSE(budget.take(0));
  EXPECT_EQ(ListingBudget::used_up().code, ErrorCode::limit);
}

/// A balanced tree of seven nodes with the link at byte 16.
class TreeTest : public testing::Test {
 protected:
  TreeTest() {
    for (int i = 0; i < 7; ++i) nodes_.push_back(guest_.allocate(64));
    for (const auto& [node, left, right] : {std::array{3, 1, 5}, {1, 0, 2}, {5, 4, 6}}) {
      link(node, "rb_left", left);
      link(node, "rb_right", right);
    }
    guest_.finish();
  }
  void link(int node, std::string_view side, int child) {
    guest_.put(nodes_[static_cast<std::size_t>(node)] + 16, "rb_node", side,
               nodes_[static_cast<std::size_t>(child)] + 16);
  }
  [[nodiscard]] Listing<Gva> walk(std::size_t limit = 100) const {
    return walk_tree(guest_.kernel(), nodes_[3] + 16, Offset{16}, limit);
  }

  FakeKernel guest_;
  std::vector<Gva> nodes_;
};

TEST_F(TreeTest, WalksInOrder) {
  EXPECT_EQ(walk().items, nodes_);
  EXPECT_FALSE(walk().incomplete);
  EXPECT_EQ(walk(3).incomplete->code, ErrorCode::limit);
}

TEST_F(TreeTest, EndsWhenTheTreeIsACircle) {
  link(0, "rb_left", 3);
  EXPECT_TRUE(walk().incomplete);
  link(0, "rb_left", 0);
  EXPECT_TRUE(walk().incomplete);
}

TEST_F(TreeTest, EndsWhenTheTreeRunsOnToTheRight) {
  link(6, "rb_right", 3);
  const auto some = walk(1000);
  EXPECT_EQ(some.items.size(), 1000u);
  EXPECT_TRUE(some.incomplete);
}

}  // namespace
}  // namespace glasshook::linux_guest
