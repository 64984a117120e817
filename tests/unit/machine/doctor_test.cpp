#include "machine/doctor.h"

#include <gmock/gmock.h>

#include <set>

namespace glasshook::machine {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kHelp = "-trace x\n-plugin [file=]<file>[,...]\n  load a plugin\n";

TEST(Doctor, JudgesQemu) {
  const Check good = judge_qemu("QEMU emulator version 10.0.2 (Debian)\nCopyright\n", kHelp);
  EXPECT_EQ(good.health, Health::ok);
  EXPECT_EQ(good.text, "QEMU emulator version 10.0.2 (Debian)");
  EXPECT_EQ(good.remedy, "");

  const Check old = judge_qemu("QEMU emulator version 7.2.15\n", kHelp);
  EXPECT_EQ(old.health, Health::problem);
  EXPECT_THAT(old.text, HasSubstr("10 or later"));
  EXPECT_EQ(old.remedy, "scripts/setup");

  const Check bare = judge_qemu("QEMU emulator version 11.1.0\n", "-trace x\n");
  EXPECT_EQ(bare.health, Health::problem);
  EXPECT_THAT(bare.text, HasSubstr("without plugin support"));

  EXPECT_EQ(judge_qemu("", "").health, Health::problem);
  EXPECT_EQ(judge_qemu("version x", kHelp).health, Health::problem);
}

TEST(Doctor, JudgesSpace) {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  EXPECT_EQ(judge_disk_space(3 * kGiB, false).health, Health::ok);
  EXPECT_EQ(judge_disk_space(kGiB, true).health, Health::ok);
  const Check full = judge_disk_space(kGiB, false);
  EXPECT_EQ(full.health, Health::problem);
  EXPECT_THAT(full.remedy, HasSubstr("GLASSHOOK_CACHE"));
  EXPECT_EQ(judge_memory(2 * kGiB).health, Health::ok);
  EXPECT_EQ(judge_memory(kGiB).health, Health::warning);
}

TEST(Doctor, LooksAtEverythingAndEveryProblemHasARemedy) {
  std::set<std::string> names;
  for (const Check& check : run_doctor()) {
    EXPECT_FALSE(check.text.empty()) << check.name;
    EXPECT_TRUE(names.insert(check.name).second) << check.name;
    EXPECT_FALSE(check.health == Health::problem && check.remedy.empty()) << check.name;
    EXPECT_FALSE(check.health == Health::ok && !check.remedy.empty()) << check.name;
  }
  EXPECT_EQ(names.size(), 8u);
}

}  // namespace
}  // namespace glasshook::machine
