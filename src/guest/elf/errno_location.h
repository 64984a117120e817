// Where errno lies in a thread, found in the code of the C library.
#pragma once

#include <cstdint>
#include <optional>

#include "guest/elf/elf_module.h"

namespace glasshook::elf {

/// errno's address is fs_base + the 64-bit value at `slot` (the module's own address; a GOT entry
/// that the loader fills), or fs_base + `offset` when there is no slot.
struct ErrnoLocation {
  std::optional<std::uint64_t> slot;
  std::int64_t offset = 0;

  bool operator==(const ErrnoLocation&) const = default;
};

/// Reads `__errno_location` of a C library (glibc, musl). Empty when it is missing or written in an
/// unknown way.
[[nodiscard]] std::optional<ErrnoLocation> find_errno(const ElfModule& libc);

}  // namespace glasshook::elf
