#include "monitor/module_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "guest/fake_kernel.h"
#include "hypervisor/fake/fake_hypervisor.h"

namespace glasshook::monitor {
namespace {

using hypervisor::FakeHypervisor;
using hypervisor::PageSites;
using linux_guest::FakeKernel;
using linux_guest::LinuxKernel;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kUpToDate = 1 << 2, kDirty = 1 << 4, kWriteback = 1 << 15;
constexpr std::uint64_t kFirstFrame = 0x300;

/// A kernel with a file in its page cache, two pages of which have something to watch.
class ModuleFinderTest : public testing::Test {
 protected:
  ModuleFinderTest() {
    frames_ = guest_.allocate(0x400 * guest_.size("page"));
    guest_.put(guest_.variable("vmemmap_base", 8), frames_.value);
    bdi_ = guest_.make("backing_dev_info");
    guest_.put(bdi_, "backing_dev_info", "capabilities", 1u);
    super_block_ = guest_.make("super_block");
    guest_.put(super_block_, "super_block", "s_bdi", bdi_);
    inode_ = guest_.make("inode");
    guest_.put(inode_, "inode", "i_ino", std::uint64_t{77});
    guest_.put(inode_, "inode", "i_sb", super_block_);
    mapping_ = guest_.make("address_space");
    node_ = guest_.make("xa_node");
    guest_.put(mapping_, "address_space", "host", inode_);
    guest_.put(mapping_, "address_space", "i_pages.xa_head", node_.value | 2);
    file_ = guest_.make("file");
    guest_.put(file_, "file", "f_mapping", mapping_);
    guest_.finish();
    kernel_.emplace(guest_.kernel());
    plan_.pages[1] = sites(0x10);
    plan_.pages[3] = sites(0x30);
    auto finder = ModuleFinder::create(
        hypervisor_, *kernel_,
        [this](Gva mapping, Gva file) {
          EXPECT_EQ(mapping, mapping_);
          EXPECT_EQ(file, file_);
          return plan_;
        },
        [this](Gpa page, const PageSites& sites) { return hypervisor_.place(page, sites); });
    if (!finder) throw std::runtime_error(finder.error().message);
    finder_.emplace(std::move(*finder));
  }

  static PageSites sites(std::uint16_t offset) {
    PageSites sites;
    sites.entries = {{.offset = offset, .hook = {1}}};
    return sites;
  }
  /// The page cache gets a page of the file, or loses it.
  void cache(std::uint64_t page, std::uint64_t frame, std::uint64_t flags = kUpToDate) {
    const Gva entry = frames_ + frame * guest_.size("page");
    guest_.put(entry, "page", "index", page);
    guest_.put(entry, "page", "flags", flags);
    guest_.put(node_ + guest_.offset("xa_node", "slots") + page * 8, entry.value);
  }
  void drop(std::uint64_t page) {
    guest_.put(node_ + guest_.offset("xa_node", "slots") + page * 8, std::uint64_t{0});
  }
  /// Waits until the finder wants to look, and lets it.
  void look() {
    std::this_thread::sleep_for(finder_->until_next_look());
    const auto looked = finder_->look();
    EXPECT_TRUE(looked) << looked.error().message;
  }
  /// Pages with something to watch.
  std::vector<std::uint64_t> hooked() {
    std::vector<std::uint64_t> frames;
    for (const auto& [page, sites] : hypervisor_.places())
      if (!sites.entries.empty()) frames.push_back(page.value / kPageSize);
    return frames;
  }
  std::vector<std::uint64_t> hooked_files() {
    const auto found = hypervisor_.sets().find(kHookedFilesSet);
    return found == hypervisor_.sets().end() ? std::vector<std::uint64_t>{} : found->second;
  }

  FakeKernel guest_;
  FakeHypervisor hypervisor_{std::size_t{8} << 20};
  std::optional<LinuxKernel> kernel_;
  Gva frames_, bdi_, super_block_, inode_, mapping_, node_, file_;
  ModuleFinder::FilePlan plan_;
  std::optional<ModuleFinder> finder_;
};

TEST_F(ModuleFinderTest, HooksPagesWhenTheyComeAndLetsGoOfThoseThatLeave) {
  cache(1, kFirstFrame);
  finder_->on_mapping(file_, mapping_);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
  EXPECT_THAT(hooked_files(), ElementsAre(mapping_.value));
  const std::uint32_t commits = hypervisor_.commits();
  look();
  EXPECT_EQ(hypervisor_.commits(), commits);  // nothing has changed
  cache(3, kFirstFrame + 1);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame, kFirstFrame + 1));
  drop(1);
  cache(3, kFirstFrame + 2);  // read in again, to another place
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame + 2));
  drop(3);
  look();
  EXPECT_THAT(hooked(), IsEmpty());
  EXPECT_THAT(hooked_files(), IsEmpty());
}

TEST_F(ModuleFinderTest, APageThatHasToBeWrittenBackIsNotHooked) {
  cache(1, kFirstFrame, kUpToDate | kDirty);
  finder_->on_mapping(file_, mapping_);
  look();
  EXPECT_THAT(hooked(), IsEmpty());
  cache(1, kFirstFrame);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
  cache(1, kFirstFrame, kUpToDate | kWriteback);
  look();
  EXPECT_THAT(hooked(), IsEmpty());
  // tmpfs, an initramfs.
  guest_.put(bdi_, "backing_dev_info", "capabilities", 0u);
  cache(1, kFirstFrame, kUpToDate | kDirty);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
}

TEST_F(ModuleFinderTest, APageThatIsStillBeingReadIsWaitedFor) {
  cache(1, kFirstFrame, 0);
  finder_->on_mapping(file_, mapping_);
  look();
  EXPECT_THAT(hooked(), IsEmpty());
  cache(1, kFirstFrame);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
}

TEST_F(ModuleFinderTest, AFileThatIsAnotherByNowIsLetGo) {
  cache(1, kFirstFrame);
  finder_->on_mapping(file_, mapping_);
  look();
  guest_.put(inode_, "inode", "i_ino", std::uint64_t{78});
  look();
  EXPECT_THAT(hooked(), IsEmpty());
  EXPECT_THAT(hooked_files(), IsEmpty());
  finder_->on_mapping(file_, mapping_);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
}

TEST_F(ModuleFinderTest, APlanGrowsWithWhatIsKnownOfTheFile) {
  plan_.pages.erase(3);
  plan_.complete = false;
  cache(1, kFirstFrame);
  cache(3, kFirstFrame + 1);
  finder_->on_mapping(file_, mapping_);
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame));
  plan_.pages[3] = sites(0x30);
  plan_.pages[1] = sites(0x20);
  plan_.complete = true;
  look();
  EXPECT_THAT(hooked(), ElementsAre(kFirstFrame, kFirstFrame + 1));
  EXPECT_EQ(hypervisor_.places().at(Gpa{kFirstFrame * kPageSize}), sites(0x20));
}

TEST_F(ModuleFinderTest, ARecordThatIsOutOfDateIsNotBelieved) {
  cache(1, kFirstFrame);
  finder_->on_mapping(file_, mapping_ + 64);
  finder_->on_mapping(Gva{}, mapping_);
  look();
  EXPECT_THAT(hooked(), IsEmpty());
}

}  // namespace
}  // namespace glasshook::monitor
