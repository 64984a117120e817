// Exit statuses, the same for every command; docs/commands.md lists them.
#pragma once

namespace glasshook::cli {

inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;        ///< a command that runs nothing in a guest failed
inline constexpr int kUsage = 2;          ///< its command line makes no sense
inline constexpr int kTimedOut = 124;     ///< --timeout passed, as in timeout(1)
inline constexpr int kOwnFailure = 125;   ///< run, trace, demo: Glasshook itself failed
inline constexpr int kCannotRun = 126;    ///< the guest cannot execute the command
inline constexpr int kNotFound = 127;     ///< the guest has no such command
inline constexpr int kInterrupted = 130;  ///< Ctrl-C

}  // namespace glasshook::cli
