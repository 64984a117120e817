// Hooks on the kernel that tell which code of files comes into memory, and that keep who reads such
// files from finding what is changed in them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "capture/program.h"
#include "guest/linux/kernel.h"

namespace glasshook::monitor {

enum class CodeHookKind : std::uint8_t {
  mapping,    ///< a process has mapped a file for execution, or made it executable
  page_in,    ///< a page of code that is to run may have to be read in
  file_read,  ///< somebody reads a file of kHookedFilesSet; for HookPrograms::uncovers
};

/// The words of a mapping's only field (kFirstCapture): a struct file, its struct address_space.
enum CodeMappingWord { kCodeMappingFile, kCodeMappingMapping, kCodeMappingWords };

/// The set of the files whose code is hooked: addresses of struct address_space.
inline constexpr std::uint32_t kHookedFilesSet = 2;

struct CodeHook {
  CodeHookKind kind;
  linux_guest::Symbol function;
  capture::Program program;
};

/// All of them that this kernel has the functions for. ErrorCode::not_found when it has none that
/// tells of mappings, or reads files in an unknown way.
[[nodiscard]] Result<std::vector<CodeHook>> code_hooks(const linux_guest::LinuxKernel& kernel);

}  // namespace glasshook::monitor
