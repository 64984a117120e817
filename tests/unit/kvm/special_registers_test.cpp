#include "hypervisor/kvm/special_registers.h"

#include <gtest/gtest.h>

#include "capture/builder.h"
#include "capture/op_table.h"

namespace glasshook::hypervisor::kvm {
namespace {

using capture::CpuRegister;
using capture::Reg;
using capture::Space;

Needs needs(capture::Builder& builder) {
  builder.send();
  return needs_of(*builder.build());
}

TEST(SpecialRegisters, AreControlRegistersAndSegmentBases) {
  for (const auto& [reg, special] :
       std::initializer_list<std::pair<CpuRegister, bool>>{{CpuRegister::rdi, false},
                                                           {CpuRegister::rip, false},
                                                           {CpuRegister::kernel_gs, false},
                                                           {CpuRegister::vcpu, false},
                                                           {CpuRegister::user_mode, false},
                                                           {CpuRegister::cr3, true},
                                                           {CpuRegister::fs_base, true},
                                                           {CpuRegister::gs_base, true},
                                                           {CpuRegister::idt_base, true}}) {
    capture::Builder builder(capture::ProgramRole::entry);
    builder.load_cpu(Reg{0}, reg);
    EXPECT_EQ(needs(builder), special ? Needs::special : Needs::general)
        << capture::cpu_register_name(reg);
  }
}

TEST(SpecialRegisters, ButTheCurrentPageTablesAloneAreLess) {
  for (const Space space : {Space::kernel, Space::current}) {
    const Needs current = space == Space::current ? Needs::tables : Needs::general;
    const auto program = [&](auto&& add) {
      capture::Builder builder(capture::ProgramRole::entry);
      builder.load_cpu(Reg{0}, CpuRegister::rdi);
      add(builder);
      return needs(builder);
    };
    EXPECT_EQ(program([&](auto& b) { b.load_memory(Reg{0}, Reg{0}, 0, 8, space); }), current);
    EXPECT_EQ(program([&](auto& b) { b.emit_string(16, Reg{0}, 64, space); }), current);
    EXPECT_EQ(program([&](auto& b) {
                b.begin_list(16).append_string(Reg{0}, 64, space).end_list(Reg{0});
              }),
              current);
    EXPECT_EQ(program([&](auto& b) {
                const auto pattern = b.pattern(capture::PatternKind::equal, "x");
                b.match_string(Reg{1}, Reg{0}, pattern, space);
              }),
              current);
  }
}

}  // namespace
}  // namespace glasshook::hypervisor::kvm
