#include "hypervisor/kvm/memory_slots.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace glasshook::hypervisor::kvm {
namespace {

constexpr std::uint64_t kHost = 0x7f00'0000'0000, kFourGib = 1ull << 32;
constexpr probe::RamMapping kMapping{
    .begin = kHost, .end = kHost + 0x1'0000'0000, .file_offset = 0, .device = 1, .inode = 7};

kvm_userspace_memory_region slot(std::uint32_t number, std::uint64_t gpa, std::uint64_t size,
                                 std::uint64_t host) {
  return {.slot = number,
          .flags = 0,
          .guest_phys_addr = gpa,
          .memory_size = size,
          .userspace_addr = host};
}

TEST(MemorySlots, RamCutByTheVgaWindowIsOnePiece) {
  MemorySlots slots;
  slots.set(slot(0, 0, 0xa0000, kHost));
  slots.set(slot(3, 0xc0000, 0x10000, kHost + 0xc0000));
  slots.set(slot(1, 0x100000, 0x7ff00000, kHost + 0x100000));
  slots.set(slot(2, 0xfffc0000, 0x40000, 0x7e00'0000'0000));  // firmware, not of that file
  const auto pieces = slots.pieces(kMapping);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].gpa, 0u);
  EXPECT_EQ(pieces[0].size, 0x8000'0000u);
  EXPECT_EQ(pieces[0].file_offset, 0u);
}

TEST(MemorySlots, RamAboveFourGibIsItsOwnPiece) {
  MemorySlots slots;
  slots.set(slot(1, kFourGib, 0x8000'0000, kHost + 0x8000'0000));
  slots.set(slot(0, 0x100000, 0x7ff00000, kHost + 0x100000));
  slots.set(slot(2, 0, 0xa0000, kHost));
  const auto pieces = slots.pieces(kMapping);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].gpa, 0u);
  EXPECT_EQ(pieces[0].size, 0x8000'0000u);
  EXPECT_EQ(pieces[1].gpa, kFourGib);
  EXPECT_EQ(pieces[1].file_offset, 0x8000'0000u);
}

TEST(MemorySlots, DeletedSlotsAndSystemManagementModeDoNotCount) {
  MemorySlots slots;
  slots.set(slot(0, 0, 0x100000, kHost));
  slots.set(slot(0, 0, 0, kHost));
  slots.set(slot(1 << 16, 0, 0x100000, kHost));
  EXPECT_TRUE(slots.pieces(kMapping).empty());
}

TEST(MemorySlots, ASlotDoesNotReachBeyondTheFile) {
  MemorySlots slots;
  slots.set(slot(0, 0, 0x2'0000'0000, kHost));
  EXPECT_EQ(slots.pieces(kMapping).at(0).size, 0x1'0000'0000u);
}

TEST(RamMapping, TheLargestSharedMemfdIsRam) {
  const auto found = probe::find_ram_mapping(
      "7f0000000000-7f0000001000 rw-s 00000000 00:01 5 /memfd:memory-backend-memfd (deleted)\n"
      "7f1000000000-7f1020000000 rw-s 00001000 00:01 6 /memfd:memory-backend-memfd (deleted)\n"
      "7f2000000000-7f2080000000 rw-p 00000000 00:01 8 /memfd:memory-backend-memfd (deleted)\n"
      "7f3000000000-7f3080000000 rw-s 00000000 00:01 9 /memfd:other (deleted)\n"
      "nonsense\n");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->begin, 0x7f10'0000'0000u);
  EXPECT_EQ(found->end, 0x7f10'2000'0000u);
  EXPECT_EQ(found->file_offset, 0x1000u);
  EXPECT_EQ(found->inode, 6u);
  EXPECT_EQ(found->device, makedev(0, 1));
  const auto none = probe::find_ram_mapping("7f0000000000-7f0000001000 rw-p 0 00:00 0\n");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().remedy.find("memory-backend-memfd"), std::string::npos);
}

TEST(RamMapping, AFileOfAnotherDeviceIsAnother) {
  struct stat info{};
  ASSERT_EQ(stat("/proc/self/exe", &info), 0);
  const int fd = ::open("/proc/self/exe", O_RDONLY);
  const auto same = probe::open_read_only({.device = info.st_dev, .inode = info.st_ino});
  ASSERT_TRUE(same);
  close(*same);
  EXPECT_FALSE(probe::open_read_only({.device = info.st_dev + 1, .inode = info.st_ino}));
  close(fd);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
