#include "hypervisor/qemu/event_mask.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <vector>

#include "base/guest_address.h"

namespace glasshook::hypervisor::qemu {
namespace {

/// A CPU structure whose registers begin in its middle.
struct CpuStructure {
  static constexpr std::size_t kPlace = 700;  ///< words before the registers
  std::uint64_t mask = EventMask::kShowing;
  std::vector<std::uint64_t> words = std::vector<std::uint64_t>(EventMask::kWordsBefore + 17);

  CpuStructure() { at(kPlace) = reinterpret_cast<std::uint64_t>(&mask); }
  std::uint64_t& at(std::size_t before) { return words[EventMask::kWordsBefore - before]; }
  const std::uint64_t* env() const { return words.data() + EventMask::kWordsBefore; }
};

void observe(EventMask& finder, const CpuStructure& cpu, int times) {
  for (int i = 0; i < times; ++i) finder.observe(cpu.env());
}

TEST(EventMask, IsFoundByWhatItHolds) {
  CpuStructure cpu;
  EventMask finder;
  observe(finder, cpu, EventMask::kWanted - 1);
  EXPECT_FALSE(finder.found());
  observe(finder, cpu, 1);
  ASSERT_TRUE(finder.found());
  EXPECT_EQ(&finder.of(cpu.env()), &cpu.mask);
  // Each vCPU has its own, in the same place.
  CpuStructure other;
  EXPECT_EQ(&finder.of(other.env()), &other.mask);
}

TEST(EventMask, IsNotFoundWhileAnotherPlaceLooksTheSame) {
  CpuStructure cpu;
  std::uint64_t same = EventMask::kShowing;
  cpu.at(300) = reinterpret_cast<std::uint64_t>(&same);
  EventMask finder;
  observe(finder, cpu, 2 * EventMask::kWanted);
  EXPECT_FALSE(finder.found());
  same = 7;
  observe(finder, cpu, 1);
  ASSERT_TRUE(finder.found());
  EXPECT_EQ(&finder.of(cpu.env()), &cpu.mask);
}

TEST(EventMask, IsFoundThoughTheHeapLeftAPointerBeforeTheStructure) {
  CpuStructure cpu;
  cpu.at(1400) = cpu.at(CpuStructure::kPlace);
  EventMask finder;
  observe(finder, cpu, EventMask::kWanted);
  ASSERT_TRUE(finder.found());
  CpuStructure other;
  EXPECT_EQ(&finder.of(other.env()), &other.mask);
}

TEST(EventMask, IsNotFoundWhereNothingHoldsIt) {
  CpuStructure cpu;
  cpu.mask = EventMask::kHiding;
  EventMask finder;
  observe(finder, cpu, 2 * EventMask::kWanted);
  EXPECT_FALSE(finder.found());
}

TEST(EventMask, WordsThatPointNowhereDoNoHarm) {
  void* closed = mmap(nullptr, kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(closed, MAP_FAILED);
  CpuStructure cpu;
  cpu.at(1) = reinterpret_cast<std::uint64_t>(closed);
  cpu.at(2) = 0x10;
  cpu.at(3) = 0xffff'ffff'ffff'fff8;
  cpu.at(4) = 0x8000'0000'0000'0000;
  EventMask finder;
  observe(finder, cpu, EventMask::kWanted);
  EXPECT_TRUE(finder.found());
  munmap(closed, kPageSize);
}

}  // namespace
}  // namespace glasshook::hypervisor::qemu
