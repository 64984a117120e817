#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <iterator>

#include "hook/kernel_plan.h"
#include "hook/module_plan.h"
#include "memory/test_guest.h"

namespace glasshook::hook {
namespace {

using hypervisor::EntrySite;
using hypervisor::HookId;
using hypervisor::PageSites;
using hypervisor::ReturnRange;

std::vector<std::pair<int, int>> ranges(const PageSites& sites) {
  std::vector<std::pair<int, int>> pairs;
  for (const ReturnRange& range : sites.returns) pairs.emplace_back(range.begin, range.end);
  return pairs;
}

TEST(PageSitesMap, CutsRangesAtPages) {
  PageSitesMap map;
  map.add_returns(0x1ff0, 0x3010);
  ASSERT_NE(map.find(1), nullptr);
  EXPECT_THAT(ranges(*map.find(1)), testing::ElementsAre(std::pair{0xff0, 4096}));
  EXPECT_THAT(ranges(*map.find(2)), testing::ElementsAre(std::pair{0, 4096}));
  EXPECT_THAT(ranges(*map.find(3)), testing::ElementsAre(std::pair{0, 0x10}));
  EXPECT_EQ(map.find(4), nullptr);
  map.add_returns(0xffff'ffff'ffff'ff00, 0xffff'ffff'ffff'ffff);
  EXPECT_THAT(ranges(*map.find(0xffff'ffff'ffff'f)), testing::ElementsAre(std::pair{0xf00, 4095}));
  map.add_returns(8, 8);
  EXPECT_EQ(map.find(0), nullptr);
}

TEST(PageSitesMap, MergesWhatTouches) {
  PageSitesMap map;
  map.add_returns(0x10, 0x20);
  map.add_returns(0x40, 0x50);
  map.add_returns(0x30, 0x38);
  map.add_returns(0x20, 0x30);
  EXPECT_THAT(ranges(*map.find(0)),
              testing::ElementsAre(std::pair{0x10, 0x38}, std::pair{0x40, 0x50}));
  map.add_returns(0, 0x1000);
  EXPECT_THAT(ranges(*map.find(0)), testing::ElementsAre(std::pair{0, 0x1000}));
}

TEST(PageSitesMap, KeepsHooksOfOneAddress) {
  PageSitesMap map;
  map.add_entry(0x1008, HookId{1});
  map.add_entry(0x1008, HookId{2});
  map.add_entry(0x1008, HookId{1});
  EXPECT_EQ(map.find(1)->entries.size(), 2u);
  EXPECT_EQ(map.find(1)->entries[1].offset, 8);
}

class KernelPlans : public testing::Test {
 protected:
  static constexpr std::uint64_t kText = 0xffff'ffff'8100'0000;

  KernelPlans() : space(guest.new_space()) {
    // The second virtual page lies before the first one in physical memory.
    second = guest.map_new(space, Gva{kText + kPageSize});
    first = guest.map_new(space, Gva{kText});
    const std::vector<std::byte> padding(kPageSize, std::byte{0xcc});
    guest.write(first, padding);
    guest.write(second, padding);
    const std::array<unsigned char, 2> ret = {0x90, 0xc3};
    code(0x100, ret);
    // tail: jmp far (in the second page)
    code(0x200, std::array<unsigned char, 5>{0xe9, 0xfb, 0x0e, 0, 0});
    code(0x1100, ret);
    // thunked: jmp __x86_return_thunk
    code(0x300, std::array<unsigned char, 5>{0xe9, 0xfb, 0x10, 0, 0});
    code(0x1400, std::array<unsigned char, 1>{0xc3});
  }
  template <std::size_t n>
  void code(std::uint64_t offset, const std::array<unsigned char, n>& bytes) {
    const Gpa page = offset < kPageSize ? first : second;
    guest.write(page + (offset & kPageMask), std::as_bytes(std::span{bytes}));
  }
  linux_guest::Symbol symbol(std::string_view name) const { return symbols.find(name).value(); }

  glasshook::test::TestGuest guest;
  AddressSpace space;
  Gpa first, second;
  linux_guest::KernelSymbols symbols{{{Gva{kText + 0x100}, 'T', "simple"},
                                      {Gva{kText + 0x110}, 'T', "other"},
                                      {Gva{kText + 0x200}, 'T', "tail"},
                                      {Gva{kText + 0x210}, 'T', "more"},
                                      {Gva{kText + 0x300}, 'T', "thunked"},
                                      {Gva{kText + 0x305}, 'T', "end"},
                                      {Gva{kText + 0x1100}, 'T', "far"},
                                      {Gva{kText + 0x1108}, 'T', "far_end"},
                                      {Gva{kText + 0x1400}, 'T', "__x86_return_thunk"},
                                      {Gva{kText + 0x1440}, 'T', "last"},
                                      {Gva{kText + 0x1480}, 't', "simple.part.0"},
                                      {Gva{kText + 0x5000}, 'T', "unmapped"}}};
  VirtualMemory kernel{guest, space};
};

TEST_F(KernelPlans, PutEntriesAndReturnsOnPhysicalPages) {
  const auto pages = plan_kernel_hook(symbols, kernel, symbol("simple"), HookId{7}, true);
  ASSERT_TRUE(pages.has_value()) << pages.error().message;
  ASSERT_EQ(pages->size(), 1u);
  EXPECT_EQ(pages->front().page, first);
  ASSERT_EQ(pages->front().sites.entries.size(), 1u);
  EXPECT_EQ(pages->front().sites.entries[0].offset, 0x100);
  EXPECT_EQ(pages->front().sites.entries[0].hook, HookId{7});
  EXPECT_THAT(ranges(pages->front().sites), testing::ElementsAre(std::pair{0x100, 0x110}));
}

TEST_F(KernelPlans, WithoutReturnsThereIsTheEntryAlone) {
  const auto pages = plan_kernel_hook(symbols, kernel, symbol("simple"), HookId{7}, false);
  ASSERT_TRUE(pages.has_value());
  EXPECT_TRUE(pages->front().sites.returns.empty());
}

TEST_F(KernelPlans, FollowTailCallsToOtherPages) {
  const auto pages = plan_kernel_hook(symbols, kernel, symbol("tail"), HookId{1}, true);
  ASSERT_TRUE(pages.has_value());
  ASSERT_EQ(pages->size(), 2u);
  EXPECT_EQ((*pages)[0].page, second);
  EXPECT_THAT(ranges((*pages)[0].sites), testing::ElementsAre(std::pair{0x100, 0x108}));
  EXPECT_TRUE((*pages)[0].sites.entries.empty());
}

TEST_F(KernelPlans, ReturnThunksAreReturns) {
  KernelPlan plan(symbols, kernel);
  ASSERT_TRUE(plan.add(symbol("thunked"), HookId{1}, true).has_value());
  const auto pages = plan.pages();
  ASSERT_EQ(pages.size(), 1u) << "the thunk itself is not watched";
  EXPECT_THAT(ranges(pages[0].sites), testing::ElementsAre(std::pair{0x300, 0x305}));
  EXPECT_TRUE(plan.notes().empty());
  EXPECT_THAT(kernel_return_thunks(symbols), testing::ElementsAre(Gva{kText + 0x1400}));
}

TEST_F(KernelPlans, SayThatASplitFunctionMayBeEnteredInTheMiddle) {
  KernelPlan plan(symbols, kernel);
  ASSERT_TRUE(plan.add(symbol("simple"), HookId{1}, false).has_value());
  ASSERT_EQ(plan.notes().size(), 1u);
  EXPECT_TRUE(plan.notes()[0].contains("split")) << plan.notes()[0];
}

TEST_F(KernelPlans, MergeHooksOfOnePage) {
  KernelPlan plan(symbols, kernel);
  ASSERT_TRUE(plan.add(symbol("simple"), HookId{1}, true).has_value());
  ASSERT_TRUE(plan.add(symbol("tail"), HookId{2}, true).has_value());
  ASSERT_TRUE(plan.add(symbol("simple"), HookId{3}, true).has_value());
  const auto pages = plan.pages();
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_EQ(pages[1].page, first);
  EXPECT_EQ(pages[1].sites.entries.size(), 3u);
}

TEST_F(KernelPlans, CodeThatIsNotThereIsSaid) {
  const auto pages = plan_kernel_hook(symbols, kernel, symbol("unmapped"), HookId{1}, true);
  ASSERT_FALSE(pages.has_value());
  EXPECT_EQ(pages.error().code, ErrorCode::guest_fault);
}

/// The C library of the machine the tests run on: a real module with all that real ones have.
class ModulePlans : public testing::Test {
 protected:
  static constexpr const char* kLibc = "/lib/x86_64-linux-gnu/libc.so.6";

  void SetUp() override {
    std::ifstream file(kLibc, std::ios::binary);
    if (!file) GTEST_SKIP() << "no " << kLibc;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    bytes.assign(reinterpret_cast<const std::byte*>(text.data()),
                 reinterpret_cast<const std::byte*>(text.data()) + text.size());
    auto parsed =
        elf::ElfModule::parse(std::make_shared<elf::SpanSource>(bytes), elf::Layout::file);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    module.emplace(std::move(*parsed));
    const api::SourceFile apis{"test.api", R"(module libc = libc
file: open | open64 (path: path, flags: int) -> fd ! errno
file: no_such_function(a: int) -> int
process: exit(status: int) -> never
memory: memcpy(to: pointer, from: pointer, n: size) -> pointer
file: fmemopen(buffer: pointer, size: size, mode: string) -> pointer
)"};
    auto made = api::ApiCatalogue::parse(std::span{&apis, 1});
    ASSERT_TRUE(made.has_value()) << made.error().message;
    catalogue.emplace(std::move(*made));
  }
  ModulePlan plan(std::initializer_list<std::string_view> texts,
                  std::string_view file_name = kLibc) {
    std::vector<Selector> selectors;
    for (const std::string_view text : texts) selectors.push_back(parse_selector(text).value());
    const auto selection = resolve(selectors, *catalogue, nullptr);
    EXPECT_TRUE(selection.has_value()) << (selection ? "" : selection.error().message);
    functions.clear();
    return ModulePlan::make(*module, file_name, *selection, *catalogue,
                            [&](const ModuleFunction& f) -> std::optional<HookId> {
                              functions.push_back(f);
                              return HookId{static_cast<std::uint32_t>(functions.size())};
                            });
  }

  std::vector<std::byte> bytes;
  std::optional<elf::ElfModule> module;
  std::optional<api::ApiCatalogue> catalogue;
  std::vector<ModuleFunction> functions;
};

TEST_F(ModulePlans, PlaceFunctionsByFilePage) {
  const ModulePlan made = plan({"libc!open"});
  ASSERT_EQ(functions.size(), 1u);
  EXPECT_EQ(functions[0].name, "open");
  EXPECT_NE(functions[0].signature, nullptr);
  EXPECT_TRUE(functions[0].errno_slot_delta || functions[0].errno_offset);
  std::size_t entries = 0, returns = 0;
  for (const auto& [page, sites] : made.sites().pages()) {
    entries += sites.entries.size();
    returns += sites.returns.size();
    EXPECT_EQ(made.page(page), &sites);
  }
  EXPECT_EQ(entries, 1u);
  EXPECT_GE(returns, 1u);
  EXPECT_EQ(made.page(0), nullptr);
}

TEST_F(ModulePlans, OneAddressIsHookedOnce) {
  plan({"libc!open*"});
  EXPECT_EQ(functions.size(), 1u) << "open64 is the same function";
}

TEST_F(ModulePlans, OldVersionsOfANameAreHookedToo) {
  plan({"libc!fmemopen"});  // GLIBC_2.2.5 and GLIBC_2.22 differ
  EXPECT_EQ(functions.size(), 2u);
}

TEST_F(ModulePlans, ImplementationsBehindIfuncsAreAllHooked) {
  const ModulePlan made = plan({"libc!memcpy"});
  EXPECT_GT(functions.size(), 1u);
  for (const ModuleFunction& f : functions) EXPECT_EQ(f.name, "memcpy");
}

TEST_F(ModulePlans, FunctionsThatDoNotReturnHaveNoReturnRanges) {
  const ModulePlan made = plan({"libc!exit"});
  ASSERT_EQ(functions.size(), 1u);
  for (const auto& [page, sites] : made.sites().pages()) EXPECT_TRUE(sites.returns.empty());
  const ModulePlan entry_only = plan({"libc!open/noret"});
  for (const auto& [page, sites] : entry_only.sites().pages()) EXPECT_TRUE(sites.returns.empty());
}

TEST_F(ModulePlans, ExportsWithoutSignature) {
  plan({"libc!getppid"});
  ASSERT_EQ(functions.size(), 1u);
  EXPECT_EQ(functions[0].signature, nullptr);
  EXPECT_TRUE(plan({"libfoo!getppid"}).is_empty());
  EXPECT_TRUE(plan({"libm!sin"}).is_empty()) << "another module's";
  EXPECT_TRUE(plan({"libc!no_such_function"}).is_empty());
}

TEST_F(ModulePlans, ACopyUnderAnotherNameIsKnownByTheNameItGivesItself) {
  EXPECT_FALSE(plan({"libc!open"}, "/tmp/hidden").is_empty());
  EXPECT_FALSE(plan({"libc!getppid"}, "/tmp/hidden").is_empty());
  EXPECT_FALSE(plan({"hidden!getppid"}, "/tmp/hidden").is_empty());
}

}  // namespace
}  // namespace glasshook::hook
