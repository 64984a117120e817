// What a page of user code is: a file's, a changed copy of a file's, or nobody's.
#pragma once

#include <cstdint>
#include <string_view>

#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

enum class CodePageKind : std::uint8_t {
  unknown,       ///< not mapped, or the kernel's structures do not fit together
  file,          ///< the page cache's own page of the file
  private_copy,  ///< mapped from a file, but changed: relocated, patched or unpacked over it
  anonymous,     ///< belongs to no file
  vdso,          ///< given by the kernel: [vdso], [vvar], [vsyscall]
};

[[nodiscard]] std::string_view to_string(CodePageKind kind);

struct CodePage {
  CodePageKind kind = CodePageKind::unknown;
  Gva file;                 ///< struct file of the area; null without one
  std::uint64_t inode = 0;  ///< number
  std::uint32_t device_major = 0, device_minor = 0;
  std::uint64_t file_offset = 0;  ///< bytes; of the page's start in the file
  Gva area_start, area_end;       ///< of the memory area
  bool writable = false;          ///< the area is writable as well
};

/// Says what lies at `address` of the process with this struct mm_struct. Some microseconds. The
/// path of the file is file_path(kernel, page.file, ...). The kernel may be changing its
/// structures meanwhile: then unknown.
[[nodiscard]] CodePage code_page(const LinuxKernel& kernel, Gva mm, Gva address);

}  // namespace glasshook::linux_guest
