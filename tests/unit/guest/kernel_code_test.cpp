#include "guest/linux/kernel_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.h"

namespace glasshook::linux_guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Sixteen pages of code with a function on each.
class KernelCodeTest : public testing::Test {
 protected:
  static constexpr std::size_t kPages = 16;

  KernelCodeTest() {
    code_ = guest_.image(0x10'0000);
    guest_.FakeGuest::define("_stext", code_, 'T');
    for (std::size_t i = 0; i < kPages; ++i)
      guest_.FakeGuest::define("function_" + std::to_string(i), page(i) + 0x100, 'T');
    guest_.FakeGuest::define("_etext", page(kPages), 'T');
    guest_.finish();
  }
  [[nodiscard]] Gva page(std::size_t i) const { return code_ + i * kPageSize; }
  static std::vector<CodeChange> all(KernelCode& code) { return code.compare({}, kPages, 64); }

  FakeKernel guest_;
  Gva code_;
};

TEST_F(KernelCodeTest, ToldAtTheSecondLookAndOnce) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  EXPECT_THAT(all(code), IsEmpty());
  const Gva place = page(3) + 0x100;
  guest_.put(place, std::uint8_t{0xe9});
  guest_.put(place + 1, std::int32_t{-0x1005});  // one page back
  EXPECT_THAT(all(code), IsEmpty());
  const auto changes = all(code);
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].address, place);
  EXPECT_EQ(changes[0].bytes, 5u);
  EXPECT_THAT(changes[0].functions, ElementsAre("function_3"));
  EXPECT_EQ(changes[0].target, page(2) + 0x100);
  EXPECT_THAT(all(code), IsEmpty());
  EXPECT_THAT(all(code), IsEmpty());
}

TEST_F(KernelCodeTest, WhatTheKernelSaysOfItsOwnWritingIsNotTold) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  code.patched(page(5) + 0x200, 5);
  EXPECT_THAT(all(code), IsEmpty());
  guest_.put(page(5) + 0x200, std::uint32_t{0x01020304});
  EXPECT_THAT(all(code), IsEmpty());
  EXPECT_THAT(all(code), IsEmpty());
  // Beside it is told.
  code.patched(page(5) + 0x300, 4);
  guest_.put(page(5) + 0x300, std::uint64_t{0x0102030405060708});
  EXPECT_THAT(all(code), IsEmpty());
  const auto changes = all(code);
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].address, page(5) + 0x304);
  EXPECT_EQ(changes[0].bytes, 4u);
}

TEST_F(KernelCodeTest, HeardOfAfterItWasSeen) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  guest_.put(page(1), std::uint8_t{0xcc});
  EXPECT_THAT(all(code), IsEmpty());
  code.patched(page(1), 1);
  EXPECT_THAT(all(code), IsEmpty());
  EXPECT_THAT(all(code), IsEmpty());
}

TEST_F(KernelCodeTest, ChangedAndPutBackBetweenLooks) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  guest_.put(page(1), std::uint8_t{0xcc});
  EXPECT_THAT(all(code), IsEmpty());
  guest_.put(page(1), std::uint8_t{0});
  EXPECT_THAT(all(code), IsEmpty());
  EXPECT_THAT(all(code), IsEmpty());
}

TEST_F(KernelCodeTest, HookedPagesEachTimeTheOthersInTurn) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  const std::vector<Gva> hooked{page(9) + 0x100};
  guest_.put(page(9), std::uint8_t{1});
  guest_.put(page(15), std::uint8_t{1});
  EXPECT_THAT(code.compare(hooked, 1, 64), IsEmpty());
  EXPECT_THAT(code.compare(hooked, 1, 64), SizeIs(1));
  std::size_t looks = 0, told = 0;
  for (; told == 0 && looks < 3 * kPages; ++looks) told += code.compare(hooked, 1, 64).size();
  EXPECT_EQ(told, 1u);
  EXPECT_LE(looks, kPages + 1);
}

TEST_F(KernelCodeTest, AtMostSoManyAtATimeTheOthersLater) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  for (std::size_t i = 0; i < kPages; ++i) guest_.put(page(i), std::uint8_t{1});
  EXPECT_THAT(code.compare({}, kPages, 5), IsEmpty());
  EXPECT_THAT(code.compare({}, kPages, 5), SizeIs(5));
  EXPECT_THAT(code.compare({}, kPages, 100), SizeIs(kPages - 5));
}

TEST_F(KernelCodeTest, TooMuchPatchingIsTakenOver) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  for (int i = 0; i < 20'000; ++i) code.patched(page(0) + static_cast<std::uint64_t>(i % 4096), 1);
  guest_.put(page(7), std::uint8_t{1});
  for (int i = 0; i < 5; ++i) EXPECT_THAT(all(code), IsEmpty());
}

TEST_F(KernelCodeTest, WildPatchesAreHarmless) {
  const LinuxKernel kernel = guest_.kernel();
  KernelCode code(kernel);
  for (const std::uint64_t at : {0ull, ~0ull, 0xffff'ffff'ffff'f000ull})
    for (const std::uint64_t length : {0ull, 1ull, 4096ull, ~0ull}) code.patched(Gva{at}, length);
  EXPECT_THAT(all(code), IsEmpty());
}

TEST(KernelCode, FollowsModulesThatComeAndGo) {
  FakeKernel guest;
  guest.FakeGuest::define("_stext", guest.image(0x10'0000), 'T');
  guest.FakeGuest::define("_etext", guest.image(0x10'1000), 'T');
  const Gva base = guest.allocate(8192, 4096);
  const Gva module = guest.make("module");
  guest.put_text(module + guest.offset("module", "name"), "rootkit");
  guest.put(module + guest.offset("module", "mem"), base.value);
  guest.put(module + guest.offset("module", "mem") + guest.offset("module_memory", "size"),
            std::uint32_t{8192});
  guest.finish();
  const LinuxKernel kernel = guest.kernel();
  KernelCode code(kernel);
  guest.put(base, std::uint8_t{1});  // while it is loaded
  guest.list_add(guest.modules, module + guest.offset("module", "list"));
  code.follow_modules();
  EXPECT_THAT(code.compare({}, 8, 64), IsEmpty());
  EXPECT_THAT(code.compare({}, 8, 64), IsEmpty());
  guest.put(base + 0x1800, std::uint8_t{1});
  EXPECT_THAT(code.compare({}, 8, 64), IsEmpty());
  EXPECT_THAT(code.compare({}, 8, 64), SizeIs(1));
  guest.list_init(guest.modules);
  code.follow_modules();
  guest.put(base, std::uint8_t{2});
  EXPECT_THAT(code.compare({}, 8, 64), IsEmpty());
  EXPECT_THAT(code.compare({}, 8, 64), IsEmpty());
}

TEST(KernelCode, NothingWithoutItsBounds) {
  FakeKernel guest;
  guest.finish();
  const LinuxKernel kernel = guest.kernel();
  KernelCode code(kernel);
  const std::vector<Gva> wild{Gva{}, Gva{~0ull}, guest.image(0)};
  EXPECT_THAT(code.compare(wild, 100, 64), IsEmpty());
}

}  // namespace
}  // namespace glasshook::linux_guest
