#include "machine/image.h"

#include <gmock/gmock.h>

#include <thread>

#include "scratch.h"

namespace glasshook::machine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kGoodRecipe =
    "#!/bin/sh\nmkdir -p \"$1\"; echo unpacking; echo packing\n"
    "for file in vmlinuz initrd disk.raw; do echo x >\"$1/$file\"; done\n"
    "echo linux 6.1 >\"$1/kernel-package\"\n";

/// A store with one small recipe, a cache of its own, and a QEMU that only complains.
class ImageTest : public ::testing::Test {
 protected:
  ImageTest() : path_("PATH", (scratch_.path().native() + "/bin:/usr/bin:/bin").c_str()) {
    recipe("build", kGoodRecipe, 0755);
    recipe("append", "console=ttyS0 quiet\n");
    recipe("home", "/root\n");
    recipe("programs", "elf\n");
    scratch_.write("guests/common/build-guest", "shared by recipes");
    scratch_.write("guests/README", "not a recipe");
    scratch_.write("bin/qemu-system-x86_64", "#!/bin/sh\necho 'no virtual CPU' >&2; exit 1\n",
                   0755);
  }
  void recipe(const std::string& name, std::string_view content, unsigned mode = 0644) const {
    scratch_.write("guests/tiny/" + name, content, mode);
  }
  /// Builds all but the snapshot, which this QEMU cannot make.
  void build_files(std::string_view guest = "tiny", bool rebuild = false) {
    const auto built = store_.build(guest, rebuild, [this](std::string_view line) {
      progress_.emplace_back(line.substr(line.find(']') + 2));
    });
    ASSERT_FALSE(built);
    ASSERT_THAT(built.error().message, HasSubstr("no virtual CPU"));
  }

  Scratch scratch_;
  Environment path_;
  ImageStore store_{scratch_.path() / "guests", scratch_.path() / "cache"};
  std::vector<std::string> progress_;
};

TEST_F(ImageTest, AnUnknownGuestNamesTheKnownOnes) {
  const auto image = store_.find("windows");
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::not_found);
  EXPECT_THAT(image.error().remedy, HasSubstr("tiny"));
  EXPECT_THAT(store_.guests(), ElementsAre("tiny"));
  EXPECT_FALSE(store_.find("../guests/tiny"));
}

TEST_F(ImageTest, AMissingImageNamesTheCommandThatBuildsIt) {
  const auto image = store_.find("tiny");
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().message, HasSubstr("is not built"));
  EXPECT_EQ(image.error().remedy, "glasshook image build tiny");
}

TEST_F(ImageTest, AProfileTellsWhatCommandsFind) {
  const auto profile = store_.profile("tiny");
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->home, "/root");
  EXPECT_FALSE(profile->runs_windows_programs);
  recipe("home", "/root/home\n");
  recipe("programs", "elf\npe\n");
  EXPECT_EQ(store_.profile("tiny")->home, "/root/home");
  EXPECT_TRUE(store_.profile("tiny")->runs_windows_programs);
  EXPECT_THAT(store_.profile("common").error().remedy, HasSubstr("tiny"));
}

TEST_F(ImageTest, BuildsFindsListsAndRemoves) {
  build_files();
  ASSERT_GE(progress_.size(), 3u);
  EXPECT_EQ(progress_[0], "unpacking");
  EXPECT_EQ(progress_[1], "packing");
  const auto image = store_.find("tiny");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->kernel, "linux 6.1");
  EXPECT_TRUE(image->current);
  EXPECT_GT(image->bytes, 0u);
  ASSERT_EQ(store_.list().size(), 1u);
  EXPECT_EQ(store_.list()[0].id(), image->id());

  const auto machine = store_.machine(*image, {.smp = 2, .memory_mib = 1024});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->kernel, image->directory / "vmlinuz");
  EXPECT_EQ(machine->append, "console=ttyS0 quiet");
  EXPECT_EQ(machine->smp, 2u);
  EXPECT_EQ(machine->memory_mib, 1024u);

  EXPECT_FALSE(store_.remove("other"));
  EXPECT_EQ(store_.remove("tiny").value_or(0), 1u);
  EXPECT_TRUE(store_.list().empty());
  EXPECT_FALSE(fs::exists(image->directory));
}

TEST_F(ImageTest, ARecipeMakesAGuestOfEachRelease) {
  recipe("build", std::string{kGoodRecipe} + "echo \"suite ${2:-own}\"\n", 0755);
  recipe("suites", "# releases\nbullseye\ntrixie\n");
  EXPECT_THAT(store_.guests(), ElementsAre("tiny", "tiny-bullseye", "tiny-trixie"));
  EXPECT_FALSE(store_.find("tiny-sid"));

  build_files("tiny-trixie");
  EXPECT_THAT(progress_, ::testing::Contains("suite trixie"));
  const auto image = store_.find("tiny-trixie");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->name, "tiny-trixie");
  EXPECT_TRUE(image->current);
  const auto machine = store_.machine(*image, {});
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->append, "console=ttyS0 quiet");
  EXPECT_FALSE(store_.find("tiny"));

  build_files("tiny");
  EXPECT_THAT(progress_, ::testing::Contains("suite own"));
  EXPECT_NE(store_.find("tiny").value_or(Image{}).key, image->key);
  EXPECT_EQ(store_.remove("tiny").value_or(0), 1u);
  EXPECT_TRUE(store_.find("tiny-trixie"));

  recipe("suites", "bullseye\n");
  ASSERT_EQ(store_.list().size(), 1u);
  EXPECT_FALSE(store_.list()[0].current);
  EXPECT_FALSE(store_.machine(*image, {}));
}

TEST_F(ImageTest, BuildsOnceUnlessAskedAgain) {
  build_files();
  progress_.clear();
  build_files();
  EXPECT_THAT(progress_, ::testing::Not(::testing::Contains("unpacking")));
  build_files("tiny", true);
  EXPECT_THAT(progress_, ::testing::Contains("unpacking"));
}

TEST_F(ImageTest, AChangedRecipeIsAnotherImage) {
  build_files();
  const std::string first = store_.find("tiny").value_or(Image{}).id();
  recipe("packages", "curl\n");
  const auto image = store_.find("tiny");
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().message, HasSubstr("another version of its recipe"));
  build_files();
  ASSERT_EQ(store_.list().size(), 2u);
  for (const Image& listed : store_.list()) EXPECT_EQ(listed.current, listed.id() != first);
  EXPECT_EQ(store_.remove(first).value_or(0), 1u);
  EXPECT_EQ(store_.list().size(), 1u);
  scratch_.write("guests/common/build-guest", "what all recipes share, changed");
  EXPECT_FALSE(store_.find("tiny"));
}

TEST_F(ImageTest, AFailedBuildSaysWhyAndLeavesNothing) {
  recipe("build",
         "#!/bin/sh\nmkdir -p \"$1\"; echo x >\"$1/vmlinuz\"\n"
         "echo 'no space' >&2; echo 'remedy: buy a disk' >&2; exit 1\n",
         0755);
  const auto built = store_.build("tiny", false, [](std::string_view) {});
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().message, HasSubstr("no space"));
  EXPECT_EQ(built.error().remedy, "buy a disk");
  for (const auto& entry : fs::directory_iterator(scratch_.path() / "cache/images"))
    EXPECT_EQ(entry.path().extension(), ".lock") << entry.path();
}

TEST_F(ImageTest, UsesTheSnapshotThatIsThere) {
  build_files();
  const auto image = store_.find("tiny");
  ASSERT_TRUE(image);
  const auto none = store_.snapshot(*image, {}, [](std::string_view) {});
  ASSERT_FALSE(none);
  // The name tells the size; what else it depends on is in the hash, so try what it looks for.
  const auto identity = snapshot_identity(store_.machine(*image, {}).value_or(MachineConfig{}));
  ASSERT_TRUE(identity);
  const fs::path file = image->directory / snapshot_name({}, *identity);
  std::ofstream(file) << "state";
  EXPECT_EQ(store_.snapshot(*image, {}, [](std::string_view) {}).value_or(""), file);
  EXPECT_FALSE(store_.snapshot(*image, {.smp = 2}, [](std::string_view) {}));
}

TEST_F(ImageTest, ACacheThatCannotBeMadeHasARemedy) {
  scratch_.write("file", "");
  const ImageStore store(scratch_.path() / "guests", scratch_.path() / "file");
  const auto built = store.build("tiny", false, [](std::string_view) {});
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().remedy, HasSubstr("GLASSHOOK_CACHE"));
}

TEST(FileLock, OneWaitsForTheOther) {
  const Scratch scratch;
  const fs::path file = scratch.path() / "lock";
  bool waited = false;
  {
    auto first = FileLock::acquire(file, soon(), [] {});
    ASSERT_TRUE(first);
    const auto second = FileLock::acquire(file, Clock::now(), [&] { waited = true; });
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::timeout);
    EXPECT_FALSE(waited);
    std::jthread releaser([&first] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      first = std::unexpected(Error{});
    });
    EXPECT_TRUE(FileLock::acquire(file, soon(), [&] { waited = true; }));
  }
  EXPECT_TRUE(waited);
  EXPECT_TRUE(FileLock::acquire(file, soon(), [] {}));
}

}  // namespace
}  // namespace glasshook::machine
