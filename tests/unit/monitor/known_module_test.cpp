#include "monitor/known_module.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/guest_address.h"
#include "guest/elf/elf_module.h"
#include "hypervisor/fake/fake_hypervisor.h"
#include "source_root.h"

namespace glasshook::monitor {
namespace {

using hypervisor::HookId;
using hypervisor::PageSites;

constexpr const char* kLibc = "/lib/x86_64-linux-gnu/libc.so.6";

/// This machine's C library, some of whose pages are missing.
class HalfRead final : public GrowingFile {
 public:
  HalfRead(const std::vector<std::byte>& bytes, const std::set<std::uint64_t>& absent)
      : bytes_(bytes), absent_(absent) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] bool has_page(std::uint64_t index) const override {
    return !absent_.contains(index);
  }

 protected:
  [[nodiscard]] bool read_page(std::uint64_t index, std::uint64_t in_page,
                               std::span<std::byte> out) const override {
    return has_page(index) && elf::SpanSource(bytes_).read(index * kPageSize + in_page, out);
  }

 private:
  const std::vector<std::byte>& bytes_;
  const std::set<std::uint64_t>& absent_;
};

/// A guest whose pages are asked about one by one, and the module they belong to.
class KnownModuleTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kLibc)) GTEST_SKIP() << "no " << kLibc;
    std::ifstream stream(kLibc, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    bytes_ = {begin, begin + text.size()};
    const auto root = glasshook::test::source_root();
    auto catalogue = api::ApiCatalogue::load(root / "apis/linux");
    ASSERT_TRUE(catalogue) << catalogue.error().message;
    catalogue_ = std::make_unique<api::ApiCatalogue>(std::move(*catalogue));
    select("libc!getenv");

    const auto module =
        elf::ElfModule::parse(std::make_shared<elf::SpanSource>(bytes_), elf::Layout::file);
    ASSERT_TRUE(module);
    const elf::Symbol* function = module->exports().find("getenv");
    ASSERT_NE(function, nullptr);
    for (const elf::Segment& segment : module->segments()) {
      if (!segment.extent().contains(function->value)) continue;
      offset_ = segment.file_offset + (function->value - segment.address);
      last_page_ = (offset_ + function->size - 1) / kPageSize;
    }
    ASSERT_TRUE(hypervisor_.watch_user_pages([this](const hypervisor::PageQuestion& question) {
      return module_.sites(
          question.page.value / kPageSize, std::make_shared<HalfRead>(bytes_, absent_),
          {.selection = selection_, .catalogue = *catalogue_, .make_hook = maker_});
    }));
  }
  void select(std::string_view text) {
    const auto selector = hook::parse_selector(text);
    ASSERT_TRUE(selector);
    const auto selection = hook::resolve(std::span{&*selector, 1}, *catalogue_, nullptr);
    ASSERT_TRUE(selection) << selection.error().message;
    selection_ = *selection;
  }
  [[nodiscard]] std::uint64_t page() const { return offset_ / kPageSize; }
  /// Code on that page of the file runs.
  [[nodiscard]] PageSites run(std::uint64_t file_page) const {
    hypervisor::PageQuestion question;
    question.page = Gpa{file_page * kPageSize};
    return hypervisor_.run_page(question);
  }
  /// Takes all pages away but those.
  void only(const std::set<std::uint64_t>& present) {
    absent_.clear();
    for (std::uint64_t i = 0; i * kPageSize < bytes_.size(); ++i)
      if (!present.contains(i)) absent_.insert(i);
  }

  std::vector<std::byte> bytes_;
  std::set<std::uint64_t> absent_;
  std::unique_ptr<api::ApiCatalogue> catalogue_;
  hook::Selection selection_;
  KnownModule module_{"/usr/lib/libc.so.6"};
  std::uint32_t made_ = 0;
  hook::HookMaker maker_ = [this](const hook::ModuleFunction&) {
    return std::optional(HookId{++made_});
  };
  hypervisor::FakeHypervisor hypervisor_;
  std::uint64_t offset_ = 0, last_page_ = 0;  ///< of getenv in the file
};

TEST_F(KnownModuleTest, AllThereIsAnsweredForGood) {
  const PageSites sites = run(page());
  ASSERT_EQ(sites.entries.size(), 1u);
  EXPECT_EQ(sites.entries[0].offset, offset_ % kPageSize);
  EXPECT_FALSE(sites.returns.empty());
  EXPECT_FALSE(sites.ask_again);
  EXPECT_FALSE(run(page() + 5).ask_again);
  EXPECT_TRUE(module_.is_complete());
}

TEST_F(KnownModuleTest, NothingThereIsAskedAgain) {
  only({page()});
  const PageSites sites = run(page());
  EXPECT_TRUE(sites.entries.empty());
  EXPECT_TRUE(sites.ask_again);
  EXPECT_FALSE(module_.is_complete());
  EXPECT_EQ(made_, 0u);
  absent_.clear();
  EXPECT_EQ(run(page()).entries.size(), 1u);
  EXPECT_FALSE(run(page()).ask_again);
  EXPECT_TRUE(module_.is_complete());
}

TEST_F(KnownModuleTest, MissingSymbolsMakeEveryPageUnfinished) {
  // The first segment has the headers and the symbols: take the latter away.
  for (std::uint64_t i = 1; i < page(); ++i) absent_.insert(i);
  EXPECT_TRUE(run(page()).ask_again);
  EXPECT_TRUE(run(page() + 5).ask_again);
  absent_.clear();
  EXPECT_EQ(run(page()).entries.size(), 1u);
  EXPECT_FALSE(run(page() + 5).ask_again);
}

TEST_F(KnownModuleTest, MissingCodeIsAskedAgainOnItsOwnPagesAlone) {
  for (std::uint64_t i = page(); i <= last_page_; ++i) absent_.insert(i);
  const PageSites before = run(page());
  EXPECT_EQ(before.entries.size(), 1u) << "the symbols were there";
  EXPECT_TRUE(before.ask_again);
  EXPECT_FALSE(run(last_page_ + 5).ask_again);
  absent_.clear();
  const PageSites after = run(page());
  EXPECT_FALSE(after.ask_again);
  ASSERT_EQ(after.entries.size(), 1u);
  EXPECT_EQ(after.entries[0].hook, before.entries[0].hook) << "a function keeps its hook";
  EXPECT_EQ(made_, 1u);
}

TEST_F(KnownModuleTest, NothingNewIsNotPlannedAnew) {
  only({page()});
  (void)run(page());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(run(page()).ask_again);
  EXPECT_EQ(made_, 0u);
}

TEST_F(KnownModuleTest, OtherModulesNeedNotBeComplete) {
  select("nosuchlib!function");
  for (std::uint64_t i = 1; i < 8; ++i) absent_.insert(i);
  (void)run(page());
  // Its name may be what is missing, nothing else matters.
  absent_ = {page()};
  EXPECT_FALSE(run(page()).ask_again);
  EXPECT_TRUE(module_.is_complete());
}

TEST_F(KnownModuleTest, ACopyUnderAnotherNameIsTheSameLibrary) {
  module_ = KnownModule("/tmp/hidden");
  EXPECT_EQ(run(page()).entries.size(), 1u);
}

TEST_F(KnownModuleTest, AnotherSelectionKeepsTheHooksThatStayWanted) {
  const PageSites before = run(page());
  ASSERT_EQ(before.entries.size(), 1u);
  std::vector<HookId> dropped;
  select("libc!*env");
  module_.replan(selection_, *catalogue_, dropped);
  EXPECT_TRUE(dropped.empty());
  const PageSites more = run(page());
  EXPECT_GT(made_, 1u);
  bool kept = false;
  for (const auto& site : more.entries) kept |= site.hook == before.entries[0].hook;
  EXPECT_TRUE(kept);

  select("libc!getenv/noret");
  module_.replan(selection_, *catalogue_, dropped);
  EXPECT_EQ(dropped.size(), made_) << "that, too: it is watched in another way";
  const PageSites other = run(page());
  ASSERT_EQ(other.entries.size(), 1u);
  EXPECT_NE(other.entries[0].hook, before.entries[0].hook);
  EXPECT_TRUE(other.returns.empty());

  dropped.clear();
  selection_ = {};
  module_.replan(selection_, *catalogue_, dropped);
  EXPECT_EQ(dropped, std::vector{other.entries[0].hook});
  EXPECT_TRUE(run(page()).entries.empty());
}

TEST_F(KnownModuleTest, FilesThatAreNoModulesAreDone) {
  bytes_.assign(10'000, std::byte{0x90});
  EXPECT_FALSE(run(0).ask_again);
  EXPECT_TRUE(module_.is_complete());
}

TEST_F(KnownModuleTest, WhatLiesBehindTheEndOfTheFileNeverComes) {
  bytes_.resize(5 * kPageSize);  // the headers promise more
  EXPECT_FALSE(run(page()).ask_again);
  EXPECT_TRUE(module_.is_complete());
  const HalfRead file(bytes_, absent_);
  std::array<std::byte, 16> out;
  EXPECT_FALSE(file.read(5 * kPageSize - 8, out));
  EXPECT_EQ(file.misses(), 0u);
  EXPECT_TRUE(file.missing().empty());
}

}  // namespace
}  // namespace glasshook::monitor
