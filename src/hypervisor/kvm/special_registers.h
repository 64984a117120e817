// Which programs look at more than the general registers.
#pragma once

#include "capture/program.h"

namespace glasshook::hypervisor::kvm {

/// True when `program` looks at control registers, segment bases or through the current page
/// tables: what KVM brings with an exit as KVM_SYNC_X86_SREGS, which it collects one by one. The
/// kernel's GS base is not among these: it stays what it is on a vCPU, and is remembered.
[[nodiscard]] bool looks_at_special_registers(const capture::Program& program);

}  // namespace glasshook::hypervisor::kvm
