// A probe of the broad tier on a KVM that follows a script, and a guest's memory with page tables.
#pragma once

#include <cstring>
#include <initializer_list>

#include "fake_kvm.h"

namespace glasshook::hypervisor::kvm {
inline constexpr std::uint64_t kStackPage = kText + 2 * kPageSize;
inline constexpr Gpa kRoot{0x10000}, kTextPage = kPage;

class BroadTierTest : public KvmProbeFixture {
 protected:
  explicit BroadTierTest(bool guards_writes = false) : KvmProbeFixture(guards_writes) {
    // Four levels; text at kTextPage and the two pages after it.
    put(kRoot.value + 511 * 8, 0x11003);
    put(0x11000 + 510 * 8, 0x12003);
    put(0x12000 + 8 * 8, 0x13003);
    for (std::uint64_t page = 0; page < 3; ++page)
      put(0x13000 + page * 8, (kTextPage.value + page * kPageSize) | 3);
    code(0x00, {0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0x41, 0x57});  // as compiled
    code(0x40, {0x0f, 0x1f, 0x44, 0x00, 0x00, 0x0f, 0xa2});  // then nothing known
    code(0x60, {0x5b, 0xc3, 0xcc, 0xcc});
    code(0x80, {0x0f, 0xa2});  // cpuid
    code(0xa0, {0xcc});
  }
  void put(std::uint64_t at, std::uint64_t value) {
    std::memcpy(memory() + at, &value, sizeof value);
  }
  void code(std::uint64_t offset, std::initializer_list<int> bytes) {
    std::size_t i = 0;
    for (const int b : bytes) memory()[kTextPage.value + offset + i++] = static_cast<std::byte>(b);
  }
  int byte(std::uint64_t offset) { return static_cast<int>(memory()[kTextPage.value + offset]); }

  void attach_broad() {
    attach(Tier::broad);
    ASSERT_TRUE(probe_.set_kernel_space({.root = kRoot, .five_level = false}));
    ASSERT_TRUE(probe_.load(argument_hook(1, true)));
    ASSERT_TRUE(probe_.load(argument_hook(2)));
  }
  Result<> hook(std::initializer_list<EntrySite> entries,
                std::initializer_list<std::uint16_t> returns = {}) {
    PageSites sites;
    sites.address = Gva{kText};
    sites.entries = entries;
    sites.return_places = returns;
    if (returns.size() > 0) sites.returns = {{.begin = 0, .end = 0x80}};
    if (auto ok = probe_.place(kTextPage, sites); !ok) return ok;
    return probe_.commit();
  }
  /// An exit at a breakpoint instruction.
  static FakeKvm::Step int3_exit(std::uint64_t pc, std::uint64_t rdi = 0) {
    return [=](kvm_run& run) {
      debug_exit(0, pc, rdi)(run);
      run.debug.arch.exception = 3;
      run.s.regs.sregs.cr3 = kRoot.value;
      run.s.regs.sregs.cs.l = 1;
      run.s.regs.regs.rsp = kStackPage + 0x800;
      return 0;
    };
  }
};

inline constexpr std::uint32_t kInstructions = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;

}  // namespace glasshook::hypervisor::kvm
