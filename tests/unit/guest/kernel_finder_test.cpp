#include "guest/linux/kernel_finder.h"

#include <gmock/gmock.h>

#include "fake_guest.h"

namespace glasshook::linux_guest {
namespace {

/// A guest with a per-CPU symbol, a long name and a few types.
void furnish(FakeGuest& guest, bool percpu) {
  if (percpu) guest.define("current_task", Gva{0x1fb80}, 'A');
  guest.define(std::string(300, 'l'), FakeGuest::image(0x3000), 'T');
  const auto integer = guest.btf.integer("int", 4, BTF_INT_SIGNED);
  guest.btf.structure("path", 16, {{"mnt", integer, 0}});
  guest.finish();
}

class FoundKernelTest : public testing::TestWithParam<FakeKernelOptions> {};

TEST_P(FoundKernelTest, HasItsSymbolsTypesAndPageTables) {
  FakeGuest guest{GetParam()};
  furnish(guest, GetParam().absolute_percpu);
  const auto found = find_kernel(guest);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->banner + "\n", FakeGuest::kBanner);
  EXPECT_EQ(found->location.image_delta, FakeGuest::kDelta);
  EXPECT_EQ(found->location.space,
            (AddressSpace{.root = guest.root(), .five_level = GetParam().five_level}));
  ASSERT_EQ(found->symbols.size(), guest.symbols().size());
  for (std::size_t i = 0; i < found->symbols.size(); ++i) {
    EXPECT_EQ(found->symbols[i].name, guest.symbols()[i].name);
    EXPECT_EQ(found->symbols[i].address, guest.symbols()[i].address);
    EXPECT_EQ(found->symbols[i].type, guest.symbols()[i].type);
  }
  const LinuxKernel kernel = guest.kernel();
  EXPECT_EQ(kernel.types() != nullptr, GetParam().with_btf);
  EXPECT_EQ(kernel.release(), "6.6.6-fake");
}

TEST_P(FoundKernelTest, IsOpenedAgainWithoutAScan) {
  FakeGuest guest{GetParam()};
  furnish(guest, GetParam().absolute_percpu);
  const auto found = find_kernel(guest);
  ASSERT_TRUE(found);
  const auto again = open_kernel(guest, found->location);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->location, found->location);
  EXPECT_EQ(again->symbols.size(), found->symbols.size());
}

INSTANTIATE_TEST_SUITE_P(
    Versions, FoundKernelTest,
    testing::Values(FakeKernelOptions{.offsets_last = false, .name_order_bytes = 0},
                    FakeKernelOptions{.offsets_last = false, .name_order_bytes = 3},
                    FakeKernelOptions{.offsets_last = false, .name_order_bytes = 4},
                    FakeKernelOptions{.offsets_last = true},
                    FakeKernelOptions{.offsets_last = true, .five_level = true},
                    FakeKernelOptions{.offsets_last = true, .absolute_percpu = false},
                    FakeKernelOptions{.offsets_last = false, .absolute_percpu = false},
                    FakeKernelOptions{.with_btf = false}));

class KernelFinderTest : public testing::Test {
 protected:
  void copy_tables(Gpa to) {
    const auto from = guest_.bytes(guest_.kallsyms_at, guest_.kallsyms_size);
    std::ranges::copy(from, guest_.bytes(to, from.size()).begin());
  }
  FakeGuest guest_;
};

TEST_F(KernelFinderTest, SaysWhatToDoWhenThereIsNoKernel) {
  const auto nothing = find_kernel(guest_);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, ErrorCode::not_found);
  EXPECT_THAT(nothing.error().remedy, testing::HasSubstr("CONFIG_KALLSYMS_ALL"));
}

TEST_F(KernelFinderTest, SaysWhatToDoWithoutTypes) {
  FakeGuest bare{{.with_btf = false}};
  furnish(bare, true);
  const LinuxKernel kernel = bare.kernel();
  EXPECT_THAT(kernel.require_types().error().remedy, testing::HasSubstr("CONFIG_DEBUG_INFO_BTF"));
  EXPECT_TRUE(kernel.symbol("linux_banner"));
}

TEST_F(KernelFinderTest, CopiesWhatIsNotMappedInOnePiece) {
  furnish(guest_, true);
  guest_.with_views = false;
  EXPECT_TRUE(find_kernel(guest_));
}

TEST_F(KernelFinderTest, PassesOverAStaleCopy) {
  furnish(guest_, true);
  copy_tables(Gpa{0x20000});
  const auto found = find_kernel(guest_);
  ASSERT_TRUE(found);
  EXPECT_GT(found->location.kallsyms.begin.value, FakeGuest::kImage);
}

TEST_F(KernelFinderTest, PassesOverATruncatedCopy) {
  furnish(guest_, true);
  for (const std::size_t cut : {16u, 600u, 2000u}) {
    copy_tables(Gpa{0x20000});
    std::ranges::fill(guest_.bytes(Gpa{0x20000}, cut), std::byte{0});
    EXPECT_TRUE(find_kernel(guest_)) << cut;
  }
}

TEST_F(KernelFinderTest, LooksOnlyAtWhatRunningPageTablesMap) {
  furnish(guest_, true);
  EXPECT_TRUE(find_kernel(guest_, AddressSpace{.root = guest_.root(), .five_level = false}));
  const Gpa kernel_half{0x8000}, user_half{0x9000};
  std::ranges::copy(guest_.bytes(guest_.root(), 4096), guest_.bytes(kernel_half, 4096).begin());
  EXPECT_TRUE(find_kernel(guest_, AddressSpace{.root = user_half, .five_level = false}));
  EXPECT_FALSE(find_kernel(guest_, AddressSpace{.root = {0x7000}, .five_level = false}));
}

TEST_F(KernelFinderTest, RefusesSymbolsWhosePageTablesSayOtherwise) {
  furnish(guest_, true);
  std::ranges::fill(guest_.bytes(guest_.root(), 4096), std::byte{0});
  const auto found = find_kernel(guest_);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, testing::HasSubstr("no running kernel"));
}

TEST_F(KernelFinderTest, RefusesALocationThatIsNotTrueAnyMore) {
  furnish(guest_, true);
  const KernelLocation good = find_kernel(guest_)->location;
  const auto refused = [&](auto&& change) {
    KernelLocation bad = good;
    change(bad);
    return !open_kernel(guest_, bad);
  };
  EXPECT_TRUE(refused([](auto& l) { l.image_delta += 2 << 20; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.begin = Gpa{~0ull - 10}; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.size = ~0u; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.size /= 2; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.count = ~0u; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.names = ~0u; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.token_table = ~0u; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.offsets = ~0u; }));
  EXPECT_TRUE(refused([](auto& l) { l.kallsyms.relative_base += 4096; }));
  std::ranges::fill(guest_.bytes(Gpa{FakeGuest::kImage + 0x2000}, 8), std::byte{'x'});
  EXPECT_TRUE(refused([](auto&) {})) << "another kernel runs now";
}

TEST_F(KernelFinderTest, SurvivesDamageAnywhereInTheTables) {
  furnish(guest_, true);
  const auto tables = guest_.bytes(guest_.kallsyms_at, guest_.kallsyms_size);
  const std::vector<std::byte> whole{tables.begin(), tables.end()};
  for (std::size_t at = 0; at < whole.size(); at += 131) {
    tables[at] ^= std::byte{0x81};
    const auto found = find_kernel(guest_);
    if (found) {
      EXPECT_EQ(found->symbols.size(), guest_.symbols().size());
    }
    tables[at] = whole[at];
  }
}

TEST_F(KernelFinderTest, PassesOverMemoryFullOfTokenTables) {
  furnish(guest_, true);
  const auto tables = guest_.bytes(guest_.kallsyms_at, guest_.kallsyms_size);
  const std::size_t step = (guest_.kallsyms_size + 15) & ~std::size_t{15};
  std::ranges::fill(guest_.bytes(guest_.root(), 4096), std::byte{0});
  for (std::uint64_t at = FakeGuest::kHeap; at < FakeGuest::kHeap + (512 << 10); at += step)
    std::ranges::copy(tables, guest_.bytes(Gpa{at}, tables.size()).begin());
  EXPECT_FALSE(find_kernel(guest_));
}

}  // namespace
}  // namespace glasshook::linux_guest
