#include "guest/linux/memory_map.h"

#include <gmock/gmock.h>

#include "fake_kernel.h"
#include "guest/linux/code_page.h"
#include "guest/linux/maple_tree.h"

namespace glasshook::linux_guest {
namespace {

using testing::ElementsAre;

/// A process with areas at 0x10000 (r-x), 0x20000 (rw-, heap) and 0x40000 (r--, a file).
class MemoryMapTest : public testing::TestWithParam<FakeVersion> {
 protected:
  static constexpr std::uint64_t kLeaf = 1, kRange = 2, kArange = 3;

  MemoryMapTest() : guest_(GetParam()) {
    task_ = guest_.add_process(5, "cat");
    mm_ = guest_.add_mm(task_);
    vmas_ = {add_vma(0x10000, 0x12000, 5), add_vma(0x20000, 0x21000, 3),
             add_vma(0x40000, 0x48000, 1)};
    guest_.put(mm_, "mm_struct", "start_brk", std::uint64_t{0x20000});
    guest_.put(mm_, "mm_struct", "brk", std::uint64_t{0x20800});
    guest_.put(vmas_[2], "vm_area_struct", "vm_file", file_);
    guest_.put(vmas_[2], "vm_area_struct", "vm_pgoff", std::uint64_t{3});
    GetParam().maple_tree ? link_maple() : link_old();
    guest_.finish();
    kernel_.emplace(guest_.kernel());
  }

  Gva add_vma(std::uint64_t start, std::uint64_t end, std::uint64_t flags) {
    const Gva vma = guest_.make("vm_area_struct");
    guest_.put(vma, "vm_area_struct", "vm_start", start);
    guest_.put(vma, "vm_area_struct", "vm_end", end);
    guest_.put(vma, "vm_area_struct", "vm_flags", flags);
    return vma;
  }
  static std::uint64_t encoded(Gva node, std::uint64_t type) { return node.value | type << 3 | 4; }
  void set_root(std::uint64_t node) { guest_.put(mm_, "mm_struct", "mm_mt.ma_root", node | 2); }
  void slot(Gva node, std::string_view type, std::uint64_t i, std::uint64_t pivot,
            std::uint64_t value) {
    guest_.put(node + guest_.offset(type, "pivot") + i * 8, pivot);
    guest_.put(node + guest_.offset(type, "slot") + i * 8, value);
  }
  /// A root of type arange_64 over two leaves.
  void link_maple() {
    top_ = guest_.allocate(256, 256), left_ = guest_.allocate(256, 256),
    right_ = guest_.allocate(256, 256);
    slot(left_, "maple_range_64", 0, 0xffff, 0);
    slot(left_, "maple_range_64", 1, 0x11fff, vmas_[0].value);
    slot(left_, "maple_range_64", 2, 0x1ffff, 0);
    slot(left_, "maple_range_64", 3, 0x20fff, vmas_[1].value);
    slot(right_, "maple_range_64", 0, 0x3ffff, 0);
    slot(right_, "maple_range_64", 1, 0x47fff, vmas_[2].value);
    slot(right_, "maple_range_64", 2, 0, 0);
    slot(top_, "maple_arange_64", 0, 0x20fff, encoded(left_, kLeaf));
    slot(top_, "maple_arange_64", 1, 0, encoded(right_, kLeaf));
    set_root(encoded(top_, kArange));
  }
  void link_old() {
    guest_.put(mm_, "mm_struct", "mmap", vmas_[0]);
    guest_.put(vmas_[0], "vm_area_struct", "vm_next", vmas_[1]);
    guest_.put(vmas_[1], "vm_area_struct", "vm_next", vmas_[2]);
    const auto rb = guest_.offset("vm_area_struct", "vm_rb");
    guest_.put(mm_, "mm_struct", "mm_rb.rb_node", vmas_[1] + rb);
    guest_.put(vmas_[1] + rb, "rb_node", "rb_left", vmas_[0] + rb);
    guest_.put(vmas_[1] + rb, "rb_node", "rb_right", vmas_[2] + rb);
  }
  [[nodiscard]] std::vector<std::uint64_t> starts() const {
    std::vector<std::uint64_t> out;
    const auto map = areas(*kernel_, mm_, {});
    for (const MemoryArea& a : map->items) out.push_back(a.start.value);
    return out;
  }

  FakeKernel guest_;
  Gva root_ = guest_.add_dentry({}, "/"), mount_ = guest_.add_mount(root_),
      file_ = guest_.add_file(mount_, guest_.add_dentry(root_, "libx.so"));
  Gva task_, mm_, top_, left_, right_;
  std::vector<Gva> vmas_;
  std::optional<LinuxKernel> kernel_;
};

TEST_P(MemoryMapTest, ListsAreas) {
  const auto map = areas(*kernel_, mm_, {.mnt = mount_, .dentry = root_});
  ASSERT_TRUE(map);
  EXPECT_FALSE(map->incomplete);
  EXPECT_THAT(starts(), ElementsAre(0x10000, 0x20000, 0x40000));
  EXPECT_TRUE(map->items[0].executable);
  EXPECT_FALSE(map->items[0].writable);
  EXPECT_EQ(map->items[1].special, "[heap]");
  EXPECT_EQ(map->items[2].path.text, "/libx.so");
  EXPECT_EQ(map->items[2].file_offset, 0x3000u);
}

TEST_P(MemoryMapTest, FindsTheAreaOfAnAddress) {
  for (const auto& [address, vma] :
       {std::pair{0x10000, 0}, {0x11fff, 0}, {0x20000, 1}, {0x40000, 2}, {0x47fff, 2}})
    EXPECT_EQ(find_vma(*kernel_, mm_, Gva{static_cast<std::uint64_t>(address)}),
              vmas_[static_cast<std::size_t>(vma)])
        << address;
  for (const std::uint64_t gap : {0x0ull, 0xffffull, 0x12000ull, 0x21000ull, 0x48000ull, ~0ull})
    EXPECT_EQ(area_at(*kernel_, mm_, Gva{gap}).error().code, ErrorCode::not_found) << gap;
}

TEST_P(MemoryMapTest, RefusesAnAreaThatDoesNotHoldTheAddress) {
  guest_.put(vmas_[2], "vm_area_struct", "vm_start", std::uint64_t{0x41000});
  EXPECT_FALSE(area_at(*kernel_, mm_, Gva{0x40000}));
  guest_.put(vmas_[2], "vm_area_struct", "vm_start", std::uint64_t{0x49000});
  EXPECT_FALSE(area_at(*kernel_, mm_, Gva{0x40000})) << "ends before it begins";
}

TEST_P(MemoryMapTest, RefusesWildAddresses) {
  for (const std::uint64_t wild : {0ull, 0x1000ull, 0xffff'9999'0000'0000ull, ~0ull - 7}) {
    EXPECT_FALSE(area_at(*kernel_, Gva{wild}, Gva{0x10000}));
    const auto map = areas(*kernel_, Gva{wild}, {});
    EXPECT_TRUE(!map || map->incomplete) << wild;
  }
}

TEST_P(MemoryMapTest, TellsAnonymousFromUnknownCode) {
  EXPECT_EQ(code_page(*kernel_, mm_, Gva{0x10010}).kind, CodePageKind::anonymous);
  const CodePage page = code_page(*kernel_, mm_, Gva{0x42010});
  EXPECT_EQ(page.kind, CodePageKind::unknown) << "a file's, but not paged in";
  EXPECT_EQ(page.file, file_);
  EXPECT_EQ(page.file_offset, 0x5000u);
  EXPECT_EQ(code_page(*kernel_, mm_, Gva{0}).kind, CodePageKind::unknown);
}

INSTANTIATE_TEST_SUITE_P(Versions, MemoryMapTest,
                         testing::Values(FakeVersion{}, FakeVersion{.maple_tree = false}));

using MapleTreeTest = MemoryMapTest;

TEST_P(MapleTreeTest, EndsOnANodeThatHoldsItself) {
  slot(top_, "maple_arange_64", 1, 0, encoded(top_, kArange));
  const auto map = areas(*kernel_, mm_, {});
  EXPECT_TRUE(map->incomplete);
  (void)find_vma(*kernel_, mm_, Gva{0x40000});
}

TEST_P(MapleTreeTest, EndsOnATreeThatFansOutWithoutEnd) {
  for (std::uint64_t i = 0; i < 10; ++i)
    slot(top_, "maple_arange_64", i, 0x1000 * (i + 1), encoded(top_, kArange));
  EXPECT_TRUE(maple_entries(*kernel_, encoded(top_, kArange) | 2, 1000).incomplete);
}

TEST_P(MapleTreeTest, RefusesPivotsOutOfOrder) {
  slot(left_, "maple_range_64", 1, 0x100, vmas_[0].value);
  EXPECT_TRUE(areas(*kernel_, mm_, {})->incomplete);
}

TEST_P(MapleTreeTest, RefusesNodesOfUnknownType) {
  for (const std::uint64_t type : {0u, 4u, 15u}) {
    set_root(encoded(top_, type));
    EXPECT_TRUE(areas(*kernel_, mm_, {})->incomplete);
    EXPECT_FALSE(find_vma(*kernel_, mm_, Gva{0x10000}));
  }
}

TEST_P(MapleTreeTest, KeepsWhatComesBeforeAWildNode) {
  slot(top_, "maple_arange_64", 1, 0, 0xffff'9999'0000'000cull);
  EXPECT_THAT(starts(), ElementsAre(0x10000, 0x20000));
  EXPECT_TRUE(areas(*kernel_, mm_, {})->incomplete);
  EXPECT_TRUE(find_vma(*kernel_, mm_, Gva{0x10000}));
  EXPECT_FALSE(find_vma(*kernel_, mm_, Gva{0x40000}));
}

TEST_P(MapleTreeTest, AnEmptyTreeHasNoAreas) {
  guest_.put(mm_, "mm_struct", "mm_mt.ma_root", std::uint64_t{0});
  EXPECT_TRUE(starts().empty());
  EXPECT_FALSE(areas(*kernel_, mm_, {})->incomplete);
}

INSTANTIATE_TEST_SUITE_P(Versions, MapleTreeTest, testing::Values(FakeVersion{}));

using LinkedAreasTest = MemoryMapTest;

TEST_P(LinkedAreasTest, SeesAListInACircle) {
  guest_.put(vmas_[2], "vm_area_struct", "vm_next", vmas_[0]);
  EXPECT_THAT(starts(), ElementsAre(0x10000, 0x20000, 0x40000));
  EXPECT_TRUE(areas(*kernel_, mm_, {})->incomplete);
}

TEST_P(LinkedAreasTest, EndsOnATreeInACircle) {
  const auto rb = guest_.offset("vm_area_struct", "vm_rb");
  guest_.put(vmas_[2] + rb, "rb_node", "rb_right", vmas_[2] + rb);
  EXPECT_FALSE(find_vma(*kernel_, mm_, Gva{0x90000}));
}

INSTANTIATE_TEST_SUITE_P(Versions, LinkedAreasTest,
                         testing::Values(FakeVersion{.maple_tree = false}));

}  // namespace
}  // namespace glasshook::linux_guest
