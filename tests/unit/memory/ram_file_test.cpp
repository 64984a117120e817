#include "memory/ram_file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

namespace glasshook {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

/// A memfd of `size` bytes, all hole, closed at the end of the test.
class RamFileTest : public testing::Test {
 protected:
  RamFileTest() : fd_(::memfd_create("ram", MFD_CLOEXEC)) {
    EXPECT_EQ(::ftruncate(fd_, 4 * kMiB), 0);
  }
  ~RamFileTest() override { ::close(fd_); }
  void put(std::uint64_t offset, std::string_view text) {
    ASSERT_EQ(::pwrite(fd_, text.data(), text.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(text.size()));
  }
  int fd_;
};

std::string text_at(const PhysicalMemory& memory, Gpa from, std::size_t size) {
  std::string text(size, '\0');
  if (!memory.read(from, std::as_writable_bytes(std::span{text}))) return "fault";
  return text;
}

/// Two MiB below a hole that ends at 4 GiB, two above it.
constexpr std::array kSplit{
    RamFileSegment{.begin = {0}, .size = 2 * kMiB, .file_offset = 0},
    RamFileSegment{.begin = {4096 * kMiB}, .size = 2 * kMiB, .file_offset = 2 * kMiB}};

TEST_F(RamFileTest, ReadsBothSidesOfThePciHole) {
  put(4096, "low");
  put(2 * kMiB + 8, "high");
  const auto ram = RamFile::map(fd_, kSplit);
  ASSERT_TRUE(ram);
  EXPECT_EQ(text_at(*ram, Gpa{4096}, 3), "low");
  EXPECT_EQ(text_at(*ram, Gpa{4096 * kMiB + 8}, 4), "high");
  EXPECT_EQ(text_at(*ram, Gpa{2 * kMiB}, 1), "fault");
  EXPECT_EQ(text_at(*ram, Gpa{2 * kMiB - 1}, 2), "fault") << "must not run into the hole";
  EXPECT_EQ(text_at(*ram, Gpa{~0ull}, 2), "fault") << "must not wrap";
  EXPECT_EQ(ram->view(Gpa{4096 * kMiB}, 2 * kMiB).size(), 2 * kMiB);
  EXPECT_TRUE(ram->view(Gpa{4096 * kMiB + 1}, 2 * kMiB).empty());
}

TEST_F(RamFileTest, SaysWhatIsPopulated) {
  put(8192, "x");
  put(2 * kMiB - 1, "ab");  // last page below and first page above the hole
  const auto ram = RamFile::map(fd_, kSplit);
  ASSERT_TRUE(ram);
  const auto extents = ram->populated();
  ASSERT_EQ(extents.size(), 3u);
  EXPECT_EQ(extents[0].begin, Gpa{8192});
  EXPECT_EQ(extents[0].size, 4096u);
  EXPECT_EQ(extents[1].begin, Gpa{2 * kMiB - 4096});
  EXPECT_EQ(extents[1].size, 4096u);
  EXPECT_EQ(extents[2].begin, Gpa{4096 * kMiB});
}

TEST_F(RamFileTest, SeesWhatTheGuestWritesLater) {
  const auto ram = RamFile::map(fd_, kSplit);
  ASSERT_TRUE(ram);
  EXPECT_TRUE(ram->populated().empty());
  put(0, "now");
  EXPECT_EQ(text_at(*ram, Gpa{0}, 3), "now");
}

TEST_F(RamFileTest, RefusesSegmentsThatCannotBe) {
  using Segments = std::vector<RamFileSegment>;
  for (const Segments& bad : {Segments{},
                              {{.begin = {0}, .size = 0, .file_offset = 0}},
                              {{.begin = {0}, .size = 100, .file_offset = 0}},
                              {{.begin = {0}, .size = 8 * kMiB, .file_offset = 0}},
                              {{.begin = {0}, .size = 4096, .file_offset = ~0ull & ~4095ull}},
                              {{.begin = {~0ull & ~4095ull}, .size = 8192, .file_offset = 0}},
                              {{.begin = {0}, .size = 8192, .file_offset = 0},
                               {.begin = {4096}, .size = 4096, .file_offset = 8192}}})
    EXPECT_FALSE(RamFile::map(fd_, bad));
  EXPECT_FALSE(RamFile::map(-1, kSplit));
}

TEST_F(RamFileTest, MovesWithItsMapping) {
  put(0, "kept");
  auto ram = RamFile::map(fd_, kSplit);
  ASSERT_TRUE(ram);
  RamFile moved = std::move(*ram);
  EXPECT_EQ(text_at(moved, Gpa{0}, 4), "kept");
  EXPECT_EQ(text_at(*ram, Gpa{0}, 4), "fault");
  moved = std::move(moved);
  EXPECT_EQ(text_at(moved, Gpa{0}, 4), "kept");
}

}  // namespace
}  // namespace glasshook
