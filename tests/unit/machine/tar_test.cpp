#include "machine/tar.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <random>

#include "scratch.h"

namespace glasshook::machine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint64_t kLarge = std::uint64_t{1} << 30;

/// A scratch directory with an archive in it that the system's tar unpacks.
class TarTest : public ::testing::Test {
 protected:
  TarTest()
      : file_(::open((scratch_.path() / "archive").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
        tar_(file_.get(), kLarge) {}

  fs::path unpack() {
    EXPECT_TRUE(tar_.finish());
    const fs::path into = scratch_.path() / "unpacked";
    fs::create_directory(into);
    // As a block device would show it: the archive is followed by zeros.
    EXPECT_EQ(::ftruncate(file_.get(), 1 << 22), 0);
    const auto done = run_program(
        {"tar", "--no-same-owner", "-xpf", scratch_.path() / "archive", "-C", into}, soon());
    EXPECT_TRUE(done) << done.error().message;
    return into;
  }

  static unsigned mode_of(const fs::path& path) {
    struct stat info{};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0);
    return info.st_mode & 07777u;
  }

  Scratch scratch_;
  UniqueFd file_;
  TarWriter tar_;
};

TEST_F(TarTest, KeepsContentModeAndTime) {
  std::string content(100'001, '\0');
  std::minstd_rand random(1);
  for (char& c : content) c = static_cast<char>(random());
  const fs::path source = scratch_.write("source", content, 0751);
  const timespec times[2] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, source.c_str(), times, 0), 0);
  ASSERT_TRUE(tar_.add_path("root/program", source));
  ASSERT_TRUE(tar_.add_bytes("run/empty", "", 0600));
  ASSERT_TRUE(tar_.add_bytes("run/script", "#!/bin/sh\n", 0700));
  const fs::path into = unpack();
  EXPECT_EQ(read_all(into / "root/program"), content);
  EXPECT_EQ(mode_of(into / "root/program"), 0751u);
  struct stat info{};
  ASSERT_EQ(::stat((into / "root/program").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'600'000'000);
  EXPECT_EQ(fs::file_size(into / "run/empty"), 0u);
  EXPECT_EQ(mode_of(into / "run/script"), 0700u);
}

TEST_F(TarTest, AProgramIsExecutableForEveryone) {
  ASSERT_TRUE(tar_.add_program("root/a.exe", scratch_.write("a.exe", "MZ", 0640)));
  const fs::path file = unpack() / "root/a.exe";
  EXPECT_EQ(mode_of(file), 0755u);
  EXPECT_EQ(read_all(file), "MZ");
  EXPECT_FALSE(tar_.add_program("root/b.exe", scratch_.path() / "missing"));
  EXPECT_FALSE(tar_.add_program("root/b.exe", scratch_.path()));
}

TEST_F(TarTest, NamesOfAnyLengthAndBytes) {
  for (const std::size_t length : {99, 100, 101, 200, 255}) {
    const std::string name(length, 'n');
    ASSERT_TRUE(tar_.add_bytes(name, "x", 0644));
  }
  const std::string odd = "new\nline \xff\xfe'\"$(x) -rf";
  ASSERT_TRUE(tar_.add_bytes(odd, "odd", 0644));
  const fs::path into = unpack();
  for (const std::size_t length : {99, 100, 101, 200, 255})
    EXPECT_TRUE(fs::exists(into / std::string(length, 'n'))) << length;
  EXPECT_EQ(read_all(into / odd), "odd");
}

TEST_F(TarTest, AddsDirectoriesWithLinks) {
  scratch_.write("tree/sub/file", "deep", 0640);
  fs::create_symlink(std::string(150, 't'), scratch_.path() / "tree/link");
  fs::create_directory_symlink("tree", scratch_.path() / "to-tree");
  ASSERT_TRUE(tar_.add_path("root/tree", scratch_.path() / "to-tree"));
  const fs::path into = unpack();
  EXPECT_EQ(read_all(into / "root/tree/sub/file"), "deep");
  EXPECT_EQ(fs::read_symlink(into / "root/tree/link"), std::string(150, 't'));
}

TEST_F(TarTest, RefusesWhatItCannotCarry) {
  const auto missing = tar_.add_path("x", scratch_.path() / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  ASSERT_EQ(::mkfifo((scratch_.path() / "fifo").c_str(), 0600), 0);
  const auto fifo = tar_.add_path("x", scratch_.path() / "fifo");
  ASSERT_FALSE(fifo);
  EXPECT_THAT(fifo.error().message, HasSubstr("neither a file nor a directory"));
  EXPECT_FALSE(tar_.add_bytes("", "x", 0644));
  EXPECT_FALSE(tar_.add_bytes(std::string_view("a\0b", 3), "x", 0644));
}

TEST_F(TarTest, StopsAtItsCapacity) {
  TarWriter small(file_.get(), 4096);
  ASSERT_TRUE(small.add_bytes("fits", std::string(1000, 'x'), 0644));
  const auto large = small.add_bytes("large", std::string(5000, 'x'), 0644);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::limit);
  const auto much = small.add_bytes("much", std::string(3000, 'x'), 0644);
  ASSERT_FALSE(much);
  EXPECT_EQ(much.error().code, ErrorCode::limit);
}

}  // namespace
}  // namespace glasshook::machine
