#include "guest/linux/dispatch_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.h"

namespace glasshook::linux_guest {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(DispatchTables, ReadsCallsAndGates) {
  FakeKernel guest;
  const Gva idt = guest.variable("idt_table", 4096);
  const Gva calls = guest.variable("sys_call_table", 128);
  for (std::uint64_t i = 0; i < 16; ++i) guest.put(calls + 8 * i, 0xffff'ffff'8100'0000 + i);
  guest.put(idt + 14 * 16, 0x8100'8e00'0010'1234ull);
  guest.put(idt + 14 * 16 + 8, 0xffff'ffffull);
  guest.finish();
  const LinuxKernel kernel = guest.kernel();
  const auto tables = dispatch_tables(kernel);
  ASSERT_THAT(tables, SizeIs(2));
  EXPECT_EQ(tables[0].name, "sys_call_table");
  ASSERT_GE(tables[0].targets.size(), 16u);
  EXPECT_EQ(tables[0].targets[15], Gva{0xffff'ffff'8100'000f});
  EXPECT_EQ(tables[1].name, "idt_table");
  ASSERT_THAT(tables[1].targets, SizeIs(256));
  EXPECT_EQ(tables[1].targets[14], Gva{0xffff'ffff'8100'1234});

  guest.put(calls + 8 * 3, std::uint64_t{0xbad});
  const auto changes = changes_between(tables, dispatch_tables(kernel), 10);
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].table, "sys_call_table");
  EXPECT_EQ(changes[0].index, 3u);
  EXPECT_EQ(changes[0].address, calls + 24);
  EXPECT_EQ(changes[0].after, Gva{0xbad});
}

TEST(DispatchTables, AKernelWithoutThemHasNone) {
  FakeKernel guest;
  guest.finish();
  const LinuxKernel kernel = guest.kernel();
  EXPECT_THAT(dispatch_tables(kernel), IsEmpty());
}

TEST(ChangesBetween, AreBoundedAndOnlyOfTablesThatAreInBoth) {
  const std::vector<DispatchTable> before{{"a", {}, 8, std::vector<Gva>(100)},
                                          {"b", {}, 8, {Gva{1}}}};
  const std::vector<DispatchTable> after{{"a", {}, 8, std::vector<Gva>(90, Gva{7})},
                                         {"c", {}, 8, {Gva{2}}}};
  EXPECT_THAT(changes_between(before, after, 10), SizeIs(10));
  EXPECT_THAT(changes_between(before, after, 1000), SizeIs(90));
  EXPECT_THAT(changes_between(before, before, 1000), IsEmpty());
}

}  // namespace
}  // namespace glasshook::linux_guest
