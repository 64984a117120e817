#include "hypervisor/kvm/special_registers.h"

#include <algorithm>

#include "capture/op_table.h"

namespace glasshook::hypervisor::kvm {
namespace {

bool is_special(std::uint64_t cpu_register) {
  switch (capture::CpuRegister{static_cast<std::uint8_t>(cpu_register)}) {
    case capture::CpuRegister::cr3:
    case capture::CpuRegister::fs_base:
    case capture::CpuRegister::gs_base:
    case capture::CpuRegister::idt_base:
      return true;
    default:
      return false;
  }
}

bool is_current(std::uint64_t space) {
  return space == static_cast<std::uint64_t>(capture::Space::current);
}

Needs needs_of(const capture::Instruction& in) {
  const auto through = [](std::uint64_t space) {
    return is_current(space) ? Needs::tables : Needs::general;
  };
  switch (capture::op_info(in.op).shape) {
    case capture::Shape::load_cpu:
      return is_special(in.imm) ? Needs::special : Needs::general;
    case capture::Shape::load_memory:
      return through(in.imm);
    case capture::Shape::match:
      return through(in.size);
    case capture::Shape::text:
    case capture::Shape::counted:
    case capture::Shape::append:
      return through(in.src);
    default:
      return Needs::general;
  }
}

}  // namespace

Needs needs_of(const capture::Program& program) {
  Needs most = Needs::general;
  for (const capture::Instruction& in : program.code) most = std::max(most, needs_of(in));
  return most;
}

}  // namespace glasshook::hypervisor::kvm
