// The page tables of the process that runs, without asking KVM.
#include "hypervisor/kvm/running_tables.h"

#include <gtest/gtest.h>

#include "broad_tier.h"

namespace glasshook::hypervisor::kvm {
namespace {

constexpr std::uint64_t kGs = kText + kPageSize, kTask = kGs + 0x100, kMm = kGs + 0x200;
constexpr std::uint64_t kTables = kText + 3 * kPageSize;  ///< where the root is mapped
constexpr ProcessTables kProcess{.current_task = 0x10, .mm = 0x20, .pgd = 0x30};

class RunningTablesTest : public BroadTierTest {
 protected:
  RunningTablesTest() {
    put(0x13000 + 3 * 8, kRoot.value | 3);
    put(physical(kGs + kProcess.current_task), kTask);
    put(physical(kTask + kProcess.mm), kMm);
    put(physical(kMm + kProcess.pgd), kTables);
    ram.add({.begin = Gpa{0}, .size = kRamSize, .host = memory()});
  }
  static std::uint64_t physical(std::uint64_t address) { return address - kText + kTextPage.value; }
  std::optional<Gpa> root() {
    Gpa root;
    const AddressSpace kernel{.root = kRoot, .five_level = false};
    return tables.find_root(ram, kernel, kGs, kProcess, root) ? std::optional(root) : std::nullopt;
  }
  GuestRam ram;
  RunningTables tables;
};

TEST_F(RunningTablesTest, AreThoseOfTheRunningTask) {
  EXPECT_EQ(root(), kRoot);
  EXPECT_EQ(root(), kRoot);
}

TEST_F(RunningTablesTest, FollowTheProcessAndWhatItExecutes) {
  ASSERT_EQ(root(), kRoot);
  // Another structure, as after an execve(); then another root in the same one.
  put(physical(kTask + kProcess.mm), kMm + 0x100);
  put(physical(kMm + 0x100 + kProcess.pgd), kText);
  EXPECT_EQ(root(), kTextPage);
  put(physical(kMm + 0x100 + kProcess.pgd), kText + kPageSize);
  EXPECT_EQ(root(), kTextPage + kPageSize);
}

TEST_F(RunningTablesTest, AreUnknownWhereTheKernelHasNoneOrMakesNoSense) {
  for (const auto& [place, value] : std::initializer_list<std::pair<std::uint64_t, std::uint64_t>>{
           {kTask + kProcess.mm, 0},                 // a kernel thread
           {kTask + kProcess.mm, 0x1234},            // nothing is mapped there
           {kMm + kProcess.pgd, kTables + 8},        // no page
           {kMm + kProcess.pgd, kText - kPageSize},  // nothing is mapped there
           {kGs + kProcess.current_task, ~0ull}}) {
    std::uint64_t before = 0;
    std::memcpy(&before, memory() + physical(place), sizeof before);
    put(physical(place), value);
    EXPECT_EQ(root(), std::nullopt) << std::hex << place << ' ' << value;
    put(physical(place), before);
    EXPECT_EQ(root(), kRoot);
  }
}

TEST_F(RunningTablesTest, SpareSpecialRegisters) {
  attach_broad();
  ASSERT_TRUE(probe_.set_process_tables(kProcess));
  capture::Builder text(capture::ProgramRole::entry);
  text.load_cpu(capture::Reg{0}, capture::CpuRegister::rdi)
      .load_memory(capture::Reg{1}, capture::Reg{0}, 0, 8, capture::Space::current)
      .emit_words(16, capture::Reg{1}, 1)
      .send();
  ASSERT_TRUE(probe_.load({.id = {3}, .entry = *text.build(), .on_return = {}}));
  ASSERT_TRUE(hook({{0x40, {3}}}));
  put(physical(kGs + 0xf00), 77);
  std::vector<std::uint64_t> asked;
  const auto exit = [&](std::uint64_t cr3) {
    return [&asked, cr3](kvm_run& run) {
      asked.push_back(run.kvm_valid_regs);
      int3_exit(kText + 0x40, kGs + 0xf00)(run);
      run.s.regs.sregs.cr3 = cr3;
      run.s.regs.sregs.gs.base = kGs;
      return 0;
    };
  };
  // The first tells where the kernel's data is; the second has tables that nobody looks at.
  kvm_.script[0] = {exit(kRoot.value), exit(0x7f000), io_exit};
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(records(0), (std::vector<std::uint64_t>{77, 77}));
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_NE(asked[0] & KVM_SYNC_X86_SREGS, 0u);
  EXPECT_EQ(asked[1] & KVM_SYNC_X86_SREGS, 0u);
  EXPECT_EQ(kvm_.special_asked, 0);
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
