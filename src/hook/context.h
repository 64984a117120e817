// The prelude of every Linux program: who runs.
#pragma once

#include "capture/builder.h"
#include "hook/guest_layout.h"
#include "hook/spec.h"

namespace glasshook::hook {

/// Which code a hook sits in.
enum class CodeMode : std::uint8_t { kernel, user };

// The context words live in these registers from the prelude on, in the order of ContextWord.
inline constexpr capture::Reg kTaskRegister{10};
inline constexpr capture::Reg kPidRegister{11};
inline constexpr capture::Reg kStartRegister{12};
inline constexpr capture::Reg kUserIpRegister{13};
inline constexpr capture::Reg kSyscallRegister{14};
inline constexpr capture::Reg kUserSpRegister{15};

/// Fills the task and pid registers: what filters need.
void emit_identity(capture::Builder& builder, const GuestLayout& layout);

/// Fills the other context registers and emits kContextField; uses r8. In user mode the
/// instruction and stack pointers are those of the hit itself and no system call runs.
void emit_context(capture::Builder& builder, const GuestLayout& layout, CodeMode mode);

/// Emits kWin32Field, from the TEB, which the GS base points to in Windows code, and the stack;
/// uses r0 to r3 and looks at the fault flag, which must be clear.
void emit_win32_words(capture::Builder& builder);

/// The program that says who runs, for page questions.
[[nodiscard]] Result<capture::Program> compile_context(const GuestLayout& layout);

}  // namespace glasshook::hook
