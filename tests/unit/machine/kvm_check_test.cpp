#include "machine/kvm_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace glasshook::machine {
namespace {

using ::testing::HasSubstr;

TEST(KvmCheck, TellsADeviceThatIsNotThere) {
  const auto works = check_kvm("/no/such/kvm");
  ASSERT_FALSE(works);
  EXPECT_EQ(works.error().code, ErrorCode::not_found);
  EXPECT_THAT(works.error().remedy, HasSubstr("kvm_amd"));
}

TEST(KvmCheck, TellsADeviceThatIsNoKvm) {
  const auto works = check_kvm("/dev/null");
  ASSERT_FALSE(works);
  EXPECT_EQ(works.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace glasshook::machine
