#include "hook/context.h"

#include "guest/windows/process.h"

namespace glasshook::hook {

using capture::Label;
using capture::Op;
using capture::Reg;
using capture::Space;

static_assert(kUserSpRegister.number - kTaskRegister.number == kContextUserSp &&
              kContextWords == 6);

void emit_identity(capture::Builder& builder, const GuestLayout& layout) {
  constexpr Reg kScratch{8};
  builder.load_cpu(kTaskRegister, capture::CpuRegister::kernel_gs)
      .load_memory(kTaskRegister, kTaskRegister, layout.current_task, 8, Space::kernel);
  if (layout.task.tgid == layout.task.pid + 4) {
    builder.load_memory(kPidRegister, kTaskRegister, layout.task.pid, 8, Space::kernel);
    return;
  }
  builder.load_memory(kPidRegister, kTaskRegister, layout.task.pid, 4, Space::kernel)
      .load_memory(kScratch, kTaskRegister, layout.task.tgid, 4, Space::kernel)
      .alu(Op::shift_left, kScratch, std::uint64_t{32})
      .alu(Op::bit_or, kPidRegister, kScratch);
}

void emit_context(capture::Builder& builder, const GuestLayout& layout, CodeMode mode) {
  constexpr Reg kFlags{8};
  constexpr Reg kStack = kUserSpRegister;  // until what lies on it is loaded
  // What the task has is loaded in one go, which takes less than several.
  builder.load_memory(kStartRegister, kTaskRegister, layout.task.group_leader, 8, Space::kernel);
  if (mode == CodeMode::kernel)
    builder.load_memory(kFlags, kTaskRegister, layout.task.flags, 4, Space::kernel)
        .load_memory(kStack, kTaskRegister, layout.task.stack, 8, Space::kernel);
  builder.load_memory(kStartRegister, kStartRegister, layout.task.start_time, 8, Space::kernel);
  if (mode == CodeMode::user) {
    builder.move(kSyscallRegister, ~std::uint64_t{0})
        .load_cpu(kUserIpRegister, capture::CpuRegister::rip)
        .load_cpu(kUserSpRegister, capture::CpuRegister::rsp);
  } else {
    const Label kernel_thread = builder.new_label();
    const Label known = builder.new_label();
    builder.jump_if(Op::jump_any_bit, kFlags, kKernelThreadFlag, kernel_thread)
        .load_memory(kUserIpRegister, kStack, layout.user.ip, 8, Space::kernel)
        .load_memory(kSyscallRegister, kStack, layout.user.orig_ax, 8, Space::kernel)
        .load_memory(kUserSpRegister, kStack, layout.user.sp, 8, Space::kernel)
        .jump(known)
        .bind(kernel_thread)
        .move(kUserIpRegister, std::uint64_t{0})
        .move(kSyscallRegister, ~std::uint64_t{0})
        .move(kUserSpRegister, std::uint64_t{0})
        .bind(known);
  }
  builder.emit_words(kContextField, kTaskRegister, kContextWords);
}

void emit_win32_words(capture::Builder& builder) {
  constexpr Reg kProcess{0}, kThread{1}, kCaller{2}, kTeb{3};
  static_assert(kWin32ProcessId == 0 && kWin32ThreadId == 1 && kWin32Caller == 2 &&
                kWin32Words == 3);
  const Label none = builder.new_label();
  builder.load_cpu(kTeb, capture::CpuRegister::gs_base)
      .load_memory(kProcess, kTeb, windows::kTebProcessId, 4, Space::current)
      .load_memory(kThread, kTeb, windows::kTebThreadId, 4, Space::current)
      .load_memory(kCaller, kUserSpRegister, 0, 8, Space::current)
      .jump_fault(none)
      .emit_words(kWin32Field, kProcess, kWin32Words)
      .bind(none);
}

Result<capture::Program> compile_context(const GuestLayout& layout) {
  capture::Builder builder(capture::ProgramRole::context);
  emit_identity(builder, layout);
  emit_context(builder, layout, CodeMode::user);
  return builder.send().build();
}

}  // namespace glasshook::hook
