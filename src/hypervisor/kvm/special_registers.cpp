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

bool looks(const capture::Instruction& in) {
  switch (capture::op_info(in.op).shape) {
    case capture::Shape::load_cpu:
      return is_special(in.imm);
    case capture::Shape::load_memory:
      return is_current(in.imm);
    case capture::Shape::match:
      return is_current(in.size);
    case capture::Shape::text:
    case capture::Shape::counted:
    case capture::Shape::append:
      return is_current(in.src);
    default:
      return false;
  }
}

}  // namespace

bool looks_at_special_registers(const capture::Program& program) {
  return std::ranges::any_of(program.code, looks);
}

}  // namespace glasshook::hypervisor::kvm
