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

TEST(KvmCheck, SaysWhatAGuestsWritesNeed) {
  const auto missing = open_userfaultfd("/no/such/userfaultfd");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("noticed late"));
  EXPECT_THAT(missing.error().remedy, HasSubstr("Linux 6.1"));
  const auto refused = open_userfaultfd("/proc");  // a directory is not opened for writing
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().remedy, HasSubstr("setfacl"));
}

}  // namespace
}  // namespace glasshook::machine
