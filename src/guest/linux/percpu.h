// Constants a hook compiler needs to find the running task and its user-mode registers.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// What to add (modulo 2^64) to the kernel's GS base to get the address of the pointer to the
/// running task_struct.
[[nodiscard]] Result<std::uint64_t> current_task_offset(const LinuxKernel& kernel);

/// Where a task's struct pt_regs of its last entry from user mode lies: `task->stack` + `offset`.
struct UserRegisters {
  std::uint64_t thread_size = 0;  ///< THREAD_SIZE: bytes of a kernel stack
  std::uint64_t offset = 0;       ///< from the lowest address of the stack
  std::uint64_t size = 0;         ///< of struct pt_regs
};
[[nodiscard]] Result<UserRegisters> user_registers(const LinuxKernel& kernel);

}  // namespace glasshook::linux_guest
