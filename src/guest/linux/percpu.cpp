#include "guest/linux/percpu.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::uint64_t kMaxThreadSize = 1u << 20;
/// TOP_OF_KERNEL_STACK_PADDING of a kernel built with CONFIG_X86_FRED (arch/x86, thread_info.h).
constexpr std::uint64_t kFredPadding = 16;

/// THREAD_SIZE is the size of the first task's stack: of its type, or between its linker symbols
/// (include/asm-generic/vmlinux.lds.h, INIT_TASK_DATA).
std::uint64_t thread_size(const LinuxKernel& kernel) {
  if (const auto type = kernel.types()->find_struct("thread_union"))
    return kernel.types()->size(*type);
  for (const char* name : {"init_stack", "init_task"}) {
    const auto begin = kernel.symbol(fmt::format("__start_{}", name));
    const auto end = kernel.symbol(fmt::format("__end_{}", name));
    if (begin && end && *end > *begin) return end->value - begin->value;
  }
  return 0;
}

}  // namespace

Result<std::uint64_t> current_task_offset(const LinuxKernel& kernel) {
  // 6.2 to 6.14 keep it in a cache line of hot variables.
  if (const auto hot = kernel.symbol("pcpu_hot"); hot && kernel.types() != nullptr)
    if (const auto member = kernel.types()->offset("pcpu_hot", "current_task"))
      return hot->value + *member;
  for (const char* name : {"current_task", "const_current_task"})
    if (const auto variable = kernel.symbol(name)) return variable->value;
  return fail(ErrorCode::unsupported, "the kernel has no per-CPU variable for the running task");
}

Result<UserRegisters> user_registers(const LinuxKernel& kernel) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const auto type = kernel.types()->find_struct("pt_regs");
  UserRegisters registers{.thread_size = thread_size(kernel),
                          .offset = 0,
                          .size = type ? kernel.types()->size(*type) : 0};
  const bool fred = kernel.symbol("asm_fred_entrypoint_user").has_value();
  const std::uint64_t above = registers.size + (fred ? kFredPadding : 0);
  if (registers.size == 0 || registers.thread_size > kMaxThreadSize ||
      registers.thread_size <= above || (registers.thread_size & (registers.thread_size - 1)) != 0)
    return fail(ErrorCode::unsupported, "the size of this kernel's stacks is not known");
  registers.offset = registers.thread_size - above;
  return registers;
}

}  // namespace glasshook::linux_guest
