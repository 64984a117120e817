// Which programs look at more than the general registers.
#pragma once

#include <cstdint>

#include "capture/program.h"

namespace glasshook::hypervisor::kvm {

/// What a program looks at, each with what comes before it. The kernel's GS base is not among
/// these: it stays what it is on a vCPU, and is remembered.
enum class Needs : std::uint8_t {
  general,  ///< registers, and the kernel's memory
  tables,   ///< memory through the current page tables
  special,  ///< control registers and segment bases: what KVM brings with an exit as
            ///< KVM_SYNC_X86_SREGS, which it collects one by one
};

[[nodiscard]] Needs needs_of(const capture::Program& program);

}  // namespace glasshook::hypervisor::kvm
