#include "base/guest_address.h"

#include <gtest/gtest.h>

#include "base/result.h"

namespace glasshook {
namespace {

TEST(GuestAddress, SplitsPageAndOffset) {
  constexpr Gva address{0xffff'8880'0000'1234};
  EXPECT_EQ(address.page(), Gva{0xffff'8880'0000'1000});
  EXPECT_EQ(address.page_offset(), 0x234u);
  EXPECT_TRUE(address.is_kernel());
  EXPECT_FALSE(Gva{0x7fff'ffff'f000}.is_kernel());
  EXPECT_TRUE(Gva{}.is_null());
  EXPECT_LT(Gpa{1}, Gpa{2});
  EXPECT_EQ(Gva{16} - 8 + 4, Gva{12});
}

TEST(Result, CarriesMessageAndRemedy) {
  const Result<int> failed =
      with_remedy(fail(ErrorCode::not_found, "no {} here", "disk"), "add one");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::not_found);
  EXPECT_EQ(failed.error().message, "no disk here");
  EXPECT_EQ(failed.error().remedy, "add one");
}

}  // namespace
}  // namespace glasshook
