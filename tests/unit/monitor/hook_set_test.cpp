#include "monitor/hook_set.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>

#include "capture/builder.h"
#include "guest/fake_guest.h"
#include "hypervisor/fake/fake_hypervisor.h"

namespace glasshook::monitor {
namespace {

using hypervisor::FakeHypervisor;
using hypervisor::HookId;
using linux_guest::FakeGuest;
using linux_guest::LinuxKernel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A kernel with eight functions, 64 bytes each, all of them hooked.
class HookSetTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kCode = 0x3000, kFunctions = 8;
  static constexpr std::uint8_t kReturn = 0xc3;

  HookSetTest() {
    for (std::uint64_t i = 0; i <= kFunctions; ++i) {
      guest_.define(fmt::format("function_{}", i), function(i), 'T');
      for (std::uint64_t byte = 0; byte < 64; ++byte) guest_.put(function(i) + byte, kReturn);
    }
    guest_.finish();
    kernel_.emplace(guest_.kernel());
    hooks_.emplace(hypervisor_, *kernel_, target_);
    for (std::uint64_t i = 0; i < kFunctions; ++i) add(i);
    place();
  }

  static Gva function(std::uint64_t i) { return FakeGuest::image(kCode + i * 64); }
  static capture::Program sends() {
    auto program = capture::Builder{}.send().build();
    if (!program) throw std::runtime_error(program.error().message);
    return *program;
  }
  void add(std::uint64_t i) {
    const auto symbol = kernel_->symbols().at(function(i));
    ASSERT_TRUE(symbol);
    const auto added =
        hooks_->add_kernel_api(signature_, vocabulary_, *symbol,
                               {.id = hooks_->next_id(), .entry = sends(), .on_return = sends()});
    ASSERT_TRUE(added) << added.error().message;
  }
  void place() {
    const auto placed = hooks_->place();
    ASSERT_TRUE(placed) << placed.error().message;
  }
  /// Where functions are hooked on their page, by the function's number.
  [[nodiscard]] std::vector<std::uint64_t> hooked() const {
    std::vector<std::uint64_t> numbers;
    for (const auto& [page, sites] : hypervisor_.places())
      for (const hypervisor::EntrySite& entry : sites.entries) numbers.push_back(entry.offset / 64);
    return numbers;
  }

  FakeGuest guest_;
  FakeHypervisor hypervisor_;
  hook::Target target_;
  api::Signature signature_;
  api::Vocabulary vocabulary_;
  std::optional<LinuxKernel> kernel_;
  std::optional<HookSet> hooks_;
};

TEST_F(HookSetTest, TakesFunctionsOfTheKernelOutOfThePlan) {
  EXPECT_THAT(hooked(), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(hooks_->remove_kernel_apis({function(1), function(4), function(7), Gva{0x1234}}),
              ElementsAre(HookId{2}, HookId{5}, HookId{8}));
  place();
  EXPECT_THAT(hooked(), ElementsAre(0, 2, 3, 5, 6));
  EXPECT_EQ(hooks_->functions().size(), 5u);
  EXPECT_THAT(hooks_->remove_kernel_apis({function(1)}), IsEmpty());
}

TEST_F(HookSetTest, PlansOnceHoweverManyFunctionsGo) {
  guest_.reads = 0;
  (void)hooks_->remove_kernel_apis({function(0)});
  const std::size_t for_seven = guest_.reads;
  guest_.reads = 0;
  (void)hooks_->remove_kernel_apis({function(1), function(2), function(3), function(4)});
  EXPECT_LT(guest_.reads, for_seven);
}

TEST_F(HookSetTest, ClearsPagesWithoutAFunction) {
  std::set<Gva> all;
  for (std::uint64_t i = 0; i < kFunctions; ++i) all.insert(function(i));
  EXPECT_EQ(hooks_->remove_kernel_apis(all).size(), kFunctions);
  place();
  EXPECT_THAT(hooked(), IsEmpty());
  EXPECT_THAT(hooks_->functions(), IsEmpty());
}

TEST_F(HookSetTest, OfAProgramsPageWhatCanBeHookedIs) {
  hypervisor::PageSites sites;
  for (std::uint16_t i = 0; i < 4; ++i)
    sites.entries.push_back({.offset = static_cast<std::uint16_t>(16 * i), .hook = HookId{1u + i}});
  const Gpa page{0x7000};
  hypervisor_.refuse_entry(0);
  hypervisor_.refuse_entry(32);
  for (int again = 0; again < 2; ++again) {
    const auto placed = hooks_->place_program_page(page, sites);
    ASSERT_TRUE(placed) << placed.error().message;
    EXPECT_THAT(
        hypervisor_.places().at(page).entries,
        ElementsAre(hypervisor::EntrySite{16, HookId{2}}, hypervisor::EntrySite{48, HookId{4}}));
    EXPECT_THAT(hooks_->missing(),
                ElementsAre(HasSubstr(": no hook at 0"), HasSubstr(": no hook at 32")))
        << "each told once";
  }
}

TEST_F(HookSetTest, AFunctionThatAUserNamedHasToBeHooked) {
  hypervisor_.refuse_entry(static_cast<std::uint16_t>(function(3).page_offset()));
  const auto placed = hooks_->place();
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code, ErrorCode::unsupported);
  EXPECT_THAT(placed.error().message, HasSubstr("no hook at"));
}

TEST_F(HookSetTest, WhatElseFailsIsAnError) {
  hypervisor_.fail_call("place", {ErrorCode::closed, "gone", ""});
  const auto placed = hooks_->place_program_page(Gpa{0x7000}, {});
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code, ErrorCode::closed);
}

}  // namespace
}  // namespace glasshook::monitor
