// Leads a function that the main program imports elsewhere.
#pragma once

#include "base/result.h"

namespace glasshook::hypervisor::qemu {

/// Puts `replacement` into all slots through which this process's main program calls its import
/// `name`, also where the linker has made them read-only (ELF gABI, dynamic linking; x86-64 psABI
/// 4.4). Libraries keep the function that they have. Fails when there is no such import, or the
/// slot cannot be written.
[[nodiscard]] Result<> replace_import(const char* name, void* replacement);

}  // namespace glasshook::hypervisor::qemu
