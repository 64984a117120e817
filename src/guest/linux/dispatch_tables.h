// Where the kernel jumps to for a system call or an interrupt.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/guest_address.h"
#include "guest/linux/kernel.h"

namespace glasshook::linux_guest {

/// One of them, as it was when it was read.
struct DispatchTable {
  std::string_view name;     ///< of its symbol
  Gva address;               ///< of its first entry
  std::size_t entry_size;    ///< in bytes
  std::vector<Gva> targets;  ///< by number of the call or vector; whatever the guest holds
};

/// A place in a table that leads elsewhere than before.
struct DispatchChange {
  std::string_view table;
  std::size_t index = 0;
  Gva address;  ///< of the place
  Gva before, after;
};

/// sys_call_table, ia32_sys_call_table and idt_table, as far as the kernel has them; a table that
/// cannot be read is left out.
[[nodiscard]] std::vector<DispatchTable> dispatch_tables(const LinuxKernel& kernel);

/// What differs, in tables that are in both; at most `limit`.
[[nodiscard]] std::vector<DispatchChange> changes_between(std::span<const DispatchTable> before,
                                                          std::span<const DispatchTable> after,
                                                          std::size_t limit);

}  // namespace glasshook::linux_guest
