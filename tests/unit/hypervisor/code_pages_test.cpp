#include "hypervisor/qemu/code_pages.h"

#include <gtest/gtest.h>

#include <array>

#include "hypervisor/probe/hook_table.h"

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::uint64_t kPerMs = 1000;
constexpr Gva kHere{0x7f00'0000'0000}, kThere{0x7f11'0000'0000};
constexpr Gpa kFrame{0x5000}, kOther{0x6000};

class CodePagesTest : public testing::Test {
 protected:
  PageContent& see(Gpa page, int text, Gva at = kHere) {
    bytes_.fill(std::byte{0});
    bytes_[7] = static_cast<std::byte>(text);
    return pages_.user(page, bytes_, at, now_, kPerMs);
  }
  std::unique_ptr<probe::WatchedPage> sites() {
    return std::make_unique<probe::WatchedPage>(PageSites{}, hooks_, true);
  }
  void answer(PageContent& content) { pages_.answer(content, content.hash, sites()); }
  static bool known(const PageContent& content) { return content.state == PageContent::kKnown; }
  bool may_ask(const PageContent& content) const {
    return content.state == PageContent::kUnknown && now_ >= content.ask_from;
  }
  void wait(std::uint64_t ms) { now_ += ms * kPerMs; }

  std::array<std::byte, kPageSize> bytes_;
  probe::HookTable hooks_;
  CodePages pages_{42};
  std::uint64_t now_ = 1'000'000;
};

TEST_F(CodePagesTest, AnAnswerHoldsForThatPageWithThatContent) {
  PageContent& content = see(kFrame, 1);
  EXPECT_TRUE(may_ask(content));
  answer(content);
  EXPECT_TRUE(known(see(kFrame, 1)));
  // The same bytes elsewhere may be something else.
  EXPECT_TRUE(may_ask(see(kOther, 1)));
  EXPECT_TRUE(may_ask(see(kFrame, 2)));
  EXPECT_EQ(see(kFrame, 2).watched, nullptr);
}

TEST_F(CodePagesTest, PagesWhoseBytesAreNotKeptAreKnownByTheirHash) {
  for (const std::size_t kept : {0u, 1u}) {
    CodePages pages(42, kept);
    const auto seen = [&](Gpa page, int text) -> PageContent& {
      bytes_.fill(static_cast<std::byte>(text));
      return pages.user(page, bytes_, kHere, now_, kPerMs);
    };
    for (const Gpa page : {kFrame, kOther})
      pages.answer(seen(page, 1), seen(page, 1).hash, sites());
    EXPECT_EQ(seen(kFrame, 1).bytes != nullptr, kept == 1);
    EXPECT_EQ(seen(kOther, 1).bytes, nullptr);
    for (const Gpa page : {kFrame, kOther}) {
      EXPECT_TRUE(known(seen(page, 1)));
      EXPECT_TRUE(may_ask(seen(page, 2)));
    }
  }
}

TEST_F(CodePagesTest, ForgettingAllPagesMakesRoomForOthersBytes) {
  CodePages pages(42, 1);
  bytes_.fill(std::byte{1});
  (void)pages.user(kFrame, bytes_, kHere, now_, kPerMs);
  EXPECT_EQ(pages.user(kOther, bytes_, kHere, now_, kPerMs).bytes, nullptr);
  pages.clear_user();
  EXPECT_NE(pages.user(kOther, bytes_, kHere, now_, kPerMs).bytes, nullptr);
}

TEST_F(CodePagesTest, WhatWasReplacedIsFreedOnlyWhenCollected) {
  PageContent& content = see(kFrame, 1);
  answer(content);
  const probe::WatchedPage* first = content.watched;
  EXPECT_EQ(pages_.retired(), 0u);
  (void)see(kFrame, 2);
  EXPECT_EQ(pages_.retired(), 1u) << "the answer";
  EXPECT_FALSE(first->has_sites()) << "translated code may still look at it";
  pages_.place_kernel(kOther, sites());
  pages_.place_kernel(kOther, sites());
  EXPECT_EQ(pages_.retired(), 2u);
  pages_.collect();
  EXPECT_EQ(pages_.retired(), 0u);
  EXPECT_NE(pages_.kernel(kOther), nullptr);
  answer(see(kFrame, 2));
  pages_.clear();
  EXPECT_EQ(pages_.retired(), 2u) << "a kernel page, and a user page with its answer";
  pages_.collect();
  EXPECT_EQ(pages_.retired(), 0u);
}

TEST_F(CodePagesTest, AnAnswerThatComesTooLateIsNotTaken) {
  PageContent& content = see(kFrame, 1);
  const std::uint64_t asked = content.hash;
  content.state = PageContent::kAsking;
  (void)see(kFrame, 2);
  pages_.answer(content, asked, sites());
  EXPECT_TRUE(may_ask(content));
  pages_.answer_so_far(content, asked, sites(), 0, kPerMs);
  pages_.give_up(content, asked, true, sites());
  EXPECT_TRUE(may_ask(content));
  EXPECT_EQ(content.watched, nullptr);
}

TEST_F(CodePagesTest, WhatIsRewrittenAllTheTimeRestsBeforeItIsAskedAbout) {
  int text = 0;
  for (std::uint32_t i = 0; i <= CodePages::kMaxRewrites; ++i)
    EXPECT_TRUE(may_ask(see(kFrame, ++text)));
  std::uint64_t rest = CodePages::kFirstRestMs;
  for (int i = 0; i < 20; ++i) {
    PageContent& content = see(kFrame, ++text);
    wait(rest - 1);
    EXPECT_FALSE(may_ask(content)) << i;
    wait(1);
    EXPECT_TRUE(may_ask(content)) << i;
    rest = std::min<std::uint64_t>(2 * rest, CodePages::kLongestRestMs);
  }
  // Long unchanged: like any other.
  wait(3 * CodePages::kLongestRestMs);
  EXPECT_TRUE(may_ask(see(kFrame, ++text)));
}

TEST_F(CodePagesTest, APageThatMovesIsAskedAboutAgainAtAPace) {
  PageContent& content = see(kFrame, 1, kHere);
  answer(content);
  const probe::WatchedPage* first = content.watched;
  std::uint64_t asked = 0;
  for (int i = 0; i < 1000; ++i) {
    wait(10);
    (void)see(kFrame, 1, i % 2 == 0 ? kThere : kHere);
    // What is known stays in effect meanwhile.
    EXPECT_TRUE(i > 0 || content.watched == first);
    if (!may_ask(content)) continue;
    ++asked;
    answer(content);
  }
  EXPECT_GE(asked, 8u);
  EXPECT_LE(asked, 16u);
}

TEST_F(CodePagesTest, IsReportedOnceForEachContentAndPlace) {
  (void)see(kFrame, 1);
  EXPECT_TRUE(pages_.take_report(kFrame));
  EXPECT_FALSE(pages_.take_report(kFrame));
  (void)see(kFrame, 1, kThere);
  EXPECT_TRUE(pages_.take_report(kFrame));
  (void)see(kFrame, 2, kThere);
  EXPECT_TRUE(pages_.take_report(kFrame));
  EXPECT_FALSE(pages_.take_report(kOther));
}

TEST_F(CodePagesTest, NobodyAnswers) {
  PageContent& content = see(kFrame, 1);
  content.state = PageContent::kAsking;
  pages_.give_up(content, content.hash, false, sites());
  EXPECT_TRUE(may_ask(content));
  content.state = PageContent::kAsking;
  pages_.give_up(content, content.hash, true, sites());
  EXPECT_TRUE(known(content));
  ASSERT_NE(content.watched.load(), nullptr);
  EXPECT_FALSE(content.watched.load()->has_sites());
}

constexpr std::uint64_t kCode = 100;  ///< offset of what kernel_page() is given

std::array<std::byte, kPageSize> kernel_page(std::initializer_list<int> code) {
  std::array<std::byte, kPageSize> page;
  page.fill(std::byte{0x90});
  std::size_t at = kCode;
  for (const int byte : code) page[at++] = static_cast<std::byte>(byte);
  return page;
}

TEST_F(CodePagesTest, OfTheKernelBlocksBeforeASiteAreWanted) {
  const auto plain = kernel_page({});
  ASSERT_TRUE(hooks_.load(HookPrograms{.id = HookId{3}, .entry = {}, .on_return = {}}));
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 0, plain));
  PageSites sites;
  sites.entries = {{.offset = 200, .hook = HookId{3}}};
  pages_.place_kernel(kFrame, std::make_unique<probe::WatchedPage>(sites, hooks_, false));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, 0, plain));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, 200, plain));
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 201, plain));
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kOther, 0, plain));
  sites.returns = {{.begin = 300, .end = 400}};
  pages_.place_kernel(kFrame, std::make_unique<probe::WatchedPage>(sites, hooks_, false));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, 399, plain));
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 400, plain));
  pages_.clear();
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 0, plain));
}

TEST_F(CodePagesTest, OfTheKernelBlocksBeforeWhatMayBePrivilegedAreWanted) {
  const auto plain = kernel_page({}), wrmsr = kernel_page({0x0f, 0x30}),
             iretq = kernel_page({0x48, 0xcf});
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, 0, wrmsr));
    EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, kCode, wrmsr));
    EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, kCode + 1, wrmsr));
  }
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 0, plain));
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, 0, plain));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, 0, iretq));
}

TEST_F(CodePagesTest, OfTheKernelInstructionsThatMayGoBeyondTheirPageAreWanted) {
  const auto plain = kernel_page({});
  EXPECT_FALSE(pages_.is_wanted_of_kernel(kFrame, kPageSize - 15, plain));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, kPageSize - 14, plain));
  EXPECT_TRUE(pages_.is_wanted_of_kernel(kFrame, kPageSize - 1, plain));
}

TEST_F(CodePagesTest, OfTheKernelPagesThatAreNotRememberedAreWanted) {
  CodePages pages(42, 1);
  const auto plain = kernel_page({});
  EXPECT_FALSE(pages.is_wanted_of_kernel(kFrame, 0, plain));
  EXPECT_TRUE(pages.is_wanted_of_kernel(kOther, 0, plain));
  EXPECT_TRUE(pages.is_wanted_of_kernel(kOther, 0, plain));
  EXPECT_FALSE(pages.is_wanted_of_kernel(kFrame, 0, plain));
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
