#include "guest/linux/symbols.h"

#include <gmock/gmock.h>

namespace glasshook::linux_guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class KernelSymbolsTest : public testing::Test {
 protected:
  KernelSymbols symbols_{{{Gva{0x3000}, 'T', "vfs_write"},
                          {Gva{0x1000}, 'T', "vfs_open"},
                          {Gva{0x2000}, 't', "vfs_read"},
                          {Gva{0x2000}, 'T', "vfs_read_alias"},
                          {Gva{0x9000}, 'D', "vfs_data"},
                          {Gva{0x5000}, 't', "vfs_read"}}};
};

std::vector<std::string> names(const std::vector<Symbol>& symbols) {
  std::vector<std::string> out;
  for (const Symbol& s : symbols) out.push_back(s.name);
  return out;
}

TEST_F(KernelSymbolsTest, FindsTheFirstOfAName) {
  EXPECT_EQ(symbols_.find("vfs_read")->address, Gva{0x2000});
  EXPECT_FALSE(symbols_.find("vfs"));
  EXPECT_FALSE(symbols_.find(""));
}

TEST_F(KernelSymbolsTest, GlobsOverFunctionsOnly) {
  EXPECT_THAT(names(symbols_.find_functions("vfs_*")),
              ElementsAre("vfs_open", "vfs_read", "vfs_read_alias", "vfs_write", "vfs_read"));
  EXPECT_THAT(symbols_.find_functions("vfs_data"), IsEmpty());
}

TEST_F(KernelSymbolsTest, FindsWhatCoversAnAddress) {
  EXPECT_EQ(symbols_.at(Gva{0x2fff})->name, "vfs_read");
  EXPECT_EQ(symbols_.at(Gva{0x3000})->name, "vfs_write");
  EXPECT_FALSE(symbols_.at(Gva{0xfff}));
  EXPECT_EQ(symbols_.end_of(*symbols_.find("vfs_read_alias")), Gva{0x3000});
  EXPECT_EQ(symbols_.end_of(*symbols_.find("vfs_data")), Gva{0x9000 + (1 << 20)});
  EXPECT_FALSE(symbols_.at(Gva{0x9000 + (1 << 20)}));
}

TEST_F(KernelSymbolsTest, SuggestsNearNamesOnce) {
  EXPECT_THAT(symbols_.nearest("vfs_raed", 2), ElementsAre("vfs_read"));
  EXPECT_THAT(symbols_.nearest("completely_different", 3), IsEmpty());
}

TEST(KernelSymbols, EmptyTableAnswersNothing) {
  const KernelSymbols none{{}};
  EXPECT_FALSE(none.find("x"));
  EXPECT_FALSE(none.at(Gva{1}));
}

TEST(KernelSymbols, EndDoesNotWrap) {
  const KernelSymbols last{{{Gva{~0ull - 5}, 'T', "top"}}};
  EXPECT_GT(last.end_of(*last.find("top")), Gva{~0ull - 5});
}

}  // namespace
}  // namespace glasshook::linux_guest
