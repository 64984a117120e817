// Checks a BTF blob from guest memory before a library that trusts it gets to see it.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"

namespace glasshook::linux_guest {

/// Largest blob that is looked at; Debian's kernels have 3 to 5 MiB.
inline constexpr std::size_t kMaxBtfBytes = 64u << 20;

/// Accepts base BTF of this machine's byte order (Documentation/bpf/btf.rst): header, every type
/// record inside the type section, every string offset inside the NUL-terminated string section,
/// every type id defined, functions that have prototypes, and no endless chain of typedefs,
/// modifiers and arrays.
[[nodiscard]] Result<> check_btf(std::span<const std::byte> blob);

}  // namespace glasshook::linux_guest
