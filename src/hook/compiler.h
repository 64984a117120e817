// The hook compiler: a kernel function and what to capture, as capture programs.
#pragma once

#include <optional>

#include "base/result.h"
#include "guest/linux/symbols.h"
#include "guest/linux/types.h"
#include "hook/guest_layout.h"
#include "hook/process_filter.h"
#include "hook/spec.h"
#include "hypervisor/hypervisor.h"

namespace glasshook::hook {

/// What programs are compiled for. The pointers are borrowed.
struct Target {
  GuestLayout layout;
  const linux_guest::KernelTypes* types = nullptr;      ///< null: a kernel without BTF
  const linux_guest::KernelSymbols* symbols = nullptr;  ///< null: no `@symbol`
  ProcessFilter filter;
};

/// Compiles a spec. `prototype` is that of the function the hook will sit on; null when BTF does
/// not know it: then its arguments are `arg0` .. `arg5`. Errors name the capture and the column.
///
/// The entry program checks the process filter, then the conditions, then captures. With only the
/// exit enabled it saves the arguments the exit needs and arms the return without a record.
[[nodiscard]] Result<hypervisor::HookPrograms> compile(const HookSpec& spec,
                                                       const linux_guest::Prototype* prototype,
                                                       const Target& target, hypervisor::HookId id);

}  // namespace glasshook::hook
