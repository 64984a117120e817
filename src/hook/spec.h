// What to capture at a function, said in words of the function: the input of the hook compiler.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hypervisor/hypervisor.h"

namespace glasshook::hook {

/// How a captured expression is read and stored.
enum class CaptureKind : std::uint8_t {
  word,    ///< the value itself (one word)
  string,  ///< NUL-terminated bytes it points to
  utf16,   ///< NUL-terminated UTF-16 it points to
  bytes,   ///< `length` bytes it points to (at most `max`)
  path,    ///< a Linux `struct path`: mount-aware path, as a list of components, leaf first
  dentry,  ///< a Linux `struct dentry *`: path within its file system (list) ; `detail` as for path
};

/// One thing to capture. `expression` is C-like: an argument by its name (or `arg0`..), `ret`,
/// `current` (the running task), `(struct T *)x` casts, `->`, `.`, `[n]`, `@symbol`, numbers,
/// `&x->y` for an address, and `+ - & | << >>` with a number. In a return capture an
/// argument has the value it had at entry. Both sides of an operator may be any expression. A name
/// that is no argument is an enumerator of the kernel's (`ITER_UBUF`).
/// `a ?? b` is `a` where it compiles and else `b`: chosen once, while compiling, for arguments,
/// members and enumerators that not every kernel has (`rd->old_dentry ?? old_dentry`,
/// `ITER_UBUF ?? 255`). It binds loosest, may be chained, and works in `length` and `when` too.
struct Capture {
  std::string name;
  CaptureKind kind = CaptureKind::word;
  std::string expression;
  std::string length = {};  ///< bytes only: expression for the count
  std::uint32_t max = 256;  ///< cap in bytes
};

/// Captures and conditions at one moment. `when` are comparisons (`expr == n`, `!=`, `<`, `<=`,
/// `>`, `>=`, `expr & mask`, `!expr`) that must all hold, else the call is filtered in the probe.
/// `<` and friends are signed when the left side's type is. The entry's conditions hold for the
/// whole call, whether or not the entry itself is recorded: when one fails, the return is not
/// looked at.
struct Moment {
  std::vector<std::string> when;
  std::vector<Capture> captures;
  bool enabled = false;
};

/// A kernel function and what to capture when it is entered and when it returns; or a privileged
/// instruction.
struct HookSpec {
  std::vector<std::string> functions;  ///< the first that the kernel has is used
  /// Instead of a function; `functions` has its name. In expressions, `operand` is what it writes,
  /// and `arg0` ... are the registers that hold a function's arguments (`arg3` is rcx).
  std::optional<hypervisor::PrivilegedInstruction> instruction = {};
  Moment entry;               ///< a record at entry when enabled
  Moment exit;                ///< a record at return when enabled
  bool in_scope_only = true;  ///< apply the user's process filter
  /// Sets that follow a process tree: at entry, when the caller is in the filter set, add this
  /// expression's value (a pid) to it too.
  std::string follow_into;
  /// At entry, when the conditions hold, take this expression's value (a pid) out of the filter
  /// sets.
  std::string forget;
  /// Not every kernel has such a function: nothing to report when none is there.
  bool optional = false;
  /// One of the few to choose where a hypervisor can hook few places.
  bool choke_point = false;
  /// Says at an entry what another hook says better at its return: for where returns are not seen.
  bool stands_in = false;
  /// Who runs does not matter and is not captured, which is most of what a short record costs. Such
  /// a spec has words alone, in which no `current` is.
  bool anonymous = false;
};

/// Field ids of a compiled spec: kContextField, then entry captures from kFirstCapture in order,
/// then exit captures following on. Words that follow each other may share a field, that of the
/// first (see RecordView::find_word()). A word that lies in unreadable memory is left out of the
/// record.
inline constexpr std::uint16_t kContextField = 1;
inline constexpr std::uint16_t kFirstCapture = 16;
/// A dentry capture has a second field with the words DentryWord.
inline constexpr std::uint16_t kDentryWordsOffset = 0x100;

/// What a dentry is, and from where the running task looks at it (zeros while it exits).
enum DentryWord {
  kDentrySuperBlock,  ///< super_block address
  kDentryAddress,
  kDentryInode,           ///< inode number; 0 when the dentry has none
  kDentryMountNamespace,  ///< mnt_namespace address
  kDentryRootMount,       ///< the task's root directory: vfsmount ...
  kDentryRoot,            ///< ... and dentry
  kDentryWords
};
/// Entries of hooks on Windows APIs also have the process and thread id as Windows programs know
/// them, and the address the function will return to; left out when there is no TEB.
inline constexpr std::uint16_t kWin32Field = 4;
enum Win32Word { kWin32ProcessId, kWin32ThreadId, kWin32Caller, kWin32Words };

/// Words of the context field that Linux hooks emit first, unless they are anonymous. In hooks on
/// user-mode code the instruction and stack pointers are those of the hit itself, and there is no
/// system call.
enum ContextWord {
  kContextTask,    ///< task_struct address
  kContextPid,     ///< thread id in the low half, process id (tgid) in the high half
  kContextStart,   ///< start_boottime of the thread group leader, ns: with the tgid it names a
                   ///< process for good
  kContextUserIp,  ///< user-mode instruction pointer at the last kernel entry (0 in kernel threads)
  kContextSyscall,  ///< orig_ax: number of the system call that runs, or ~0
  kContextUserSp,   ///< user-mode stack pointer at the last kernel entry (0 in kernel threads)
  kContextWords
};

}  // namespace glasshook::hook
