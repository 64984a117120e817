#include "machine/resources.h"

#include <gtest/gtest.h>

#include "scratch.h"

namespace glasshook::machine {
namespace {

TEST(Resources, AreFoundInASourceTree) {
  const Scratch tree;
  tree.write("apis/linux/libc.api", "");
  tree.write("CMakePresets.json", "{}");
  tree.write("build/release/CMakeCache.txt", "");
  tree.write("build/release/src/hypervisor/libglasshook-qemu.so", "");
  const auto executable = tree.path() / "build/release/src/cli/glasshook";
  tree.write("build/release/apis/windows/kernel32.api", "");
  EXPECT_EQ(find_data_directory(executable, "apis"), tree.path() / "apis");
  EXPECT_EQ(find_generated_directory(executable, "apis"), tree.path() / "build/release/apis");
  EXPECT_EQ(find_generated_directory(executable, "guests"), "");
  EXPECT_EQ(find_data_directory(executable, "guests"), "");
  EXPECT_EQ(find_plugin(executable),
            tree.path() / "build/release/src/hypervisor/libglasshook-qemu.so");
}

TEST(Resources, AreFoundInAnInstallation) {
  const Scratch prefix;
  prefix.write("share/glasshook/guests/linux/build", "");
  prefix.write("lib/glasshook/libglasshook-qemu.so", "");
  const auto executable = prefix.path() / "bin/glasshook";
  EXPECT_EQ(find_data_directory(executable, "guests"), prefix.path() / "share/glasshook/guests");
  EXPECT_EQ(find_plugin(executable), prefix.path() / "lib/glasshook/libglasshook-qemu.so");
}

TEST(Resources, AreNotTakenFromAnUnrelatedDirectory) {
  const Scratch somewhere;
  somewhere.write("guests/linux/build", "");
  somewhere.write("src/hypervisor/libglasshook-qemu.so", "");
  const auto executable = somewhere.path() / "a/b/glasshook";
  EXPECT_EQ(find_data_directory(executable, "guests"), "");
  EXPECT_EQ(find_plugin(executable), "");
}

TEST(Resources, FollowTheEnvironment) {
  const Scratch chosen;
  chosen.write("guests/linux/build", "");
  const auto plugin = chosen.write("plugin.so", "");
  const Environment data("GLASSHOOK_DATA", chosen.path().c_str());
  const Environment file("GLASSHOOK_PLUGIN", plugin.c_str());
  EXPECT_EQ(data_directory("guests").value_or(""), chosen.path() / "guests");
  EXPECT_EQ(plugin_file().value_or(""), plugin);
  const auto missing = data_directory("apis");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_FALSE(missing.error().remedy.empty());
  std::filesystem::remove(plugin);
  EXPECT_FALSE(plugin_file());
}

}  // namespace
}  // namespace glasshook::machine
