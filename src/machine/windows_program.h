// Windows programs on this host, looked at before they go into a guest.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace glasshook::machine {

/// Whether the file is there and means to be a Windows program: its name ends in ".exe" or its
/// content begins with "MZ".
[[nodiscard]] bool is_windows_program(const std::filesystem::path& file);

/// Whether a 64 bit Windows without .NET could start it, from its headers (Microsoft's "PE
/// Format"): an error says what the file is instead, and what to do. Only headers are looked at: it
/// may still need modules that are not there.
[[nodiscard]] Result<> check_windows_program(const std::filesystem::path& file);

}  // namespace glasshook::machine
