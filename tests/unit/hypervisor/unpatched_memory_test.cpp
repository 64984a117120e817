#include "hypervisor/attached/unpatched_memory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "hypervisor/fake/fake_hypervisor.h"

namespace glasshook::hypervisor {
namespace {

class UnpatchedMemoryTest : public testing::Test {
 protected:
  void tell(std::uint32_t slot, std::uint64_t word) {
    region_.patch(slot) = word;
    ++region_.header().patch_changes;
  }
  void put(std::uint64_t at, int byte) { ram_.bytes()[at] = static_cast<std::byte>(byte); }
  std::vector<int> read(std::uint64_t at, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(memory_.read(Gpa{at}, bytes));
    std::vector<int> out;
    for (const std::byte b : bytes) out.push_back(static_cast<int>(b));
    return out;
  }

  FakeMemory ram_{1 << 16};
  int fd_ = -1;
  std::uint64_t ring_ = probe::SharedRegion::ring_bytes_for(1 << 16);
  probe::SharedRegion region_ = probe::SharedRegion::create(
      *probe::make_shared_memory(probe::SharedRegion::size_for(1, ring_), fd_), 1, ring_,
      1'000'000'000);
  UnpatchedMemory memory_{ram_, region_};
};

TEST_F(UnpatchedMemoryTest, WithoutPatchesMemoryIsWhatItIs) {
  put(0x1000, 0xcc);
  EXPECT_EQ(read(0xfff, 3), (std::vector{0, 0xcc, 0}));
}

TEST_F(UnpatchedMemoryTest, APatchedByteReadsAsWhatItWas) {
  for (const std::uint64_t at : {0x1000, 0x1004, 0x2000}) put(at, 0xcc);
  tell(7, probe::patch_word(Gpa{0x1000}, std::byte{0x0f}));
  tell(3, probe::patch_word(Gpa{0x1004}, std::byte{0x55}));
  EXPECT_EQ(read(0xfff, 6), (std::vector{0, 0x0f, 0, 0, 0, 0x55}));
  EXPECT_EQ(read(0x1001, 3), (std::vector{0, 0, 0}));
  EXPECT_EQ(read(0x1004, 1), std::vector{0x55});
  EXPECT_EQ(read(0x2000, 1), std::vector{0xcc});  // not told of: the guest's own
}

TEST_F(UnpatchedMemoryTest, WhatTheGuestWritesOverAPatchIsSeen) {
  tell(0, probe::patch_word(Gpa{0x1000}, std::byte{0x0f}));
  put(0x1000, 0xe9);
  EXPECT_EQ(read(0x1000, 1), std::vector{0xe9});
}

TEST_F(UnpatchedMemoryTest, APatchThatIsGoneIsForgotten) {
  put(0x1000, 0xcc);
  tell(0, probe::patch_word(Gpa{0x1000}, std::byte{0x0f}));
  EXPECT_EQ(read(0x1000, 1), std::vector{0x0f});
  tell(0, 0);
  EXPECT_EQ(read(0x1000, 1), std::vector{0xcc});
}

TEST_F(UnpatchedMemoryTest, WordsThatMeanNothingDoNoHarm) {
  for (std::uint32_t n = 0; n < probe::kMaxPatches; ++n) region_.patch(n) = ~std::uint64_t{n};
  tell(5, ~0ull);
  put(0x1000, 0xcc);
  EXPECT_EQ(read(0x1000, 1), std::vector{0xcc});
  std::vector<std::byte> much(1 << 17);
  EXPECT_FALSE(memory_.read(Gpa{0}, much));
}

}  // namespace
}  // namespace glasshook::hypervisor
