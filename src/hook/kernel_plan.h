// Where hooks on kernel functions go: physical pages, entry sites and return ranges.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/linux/symbols.h"
#include "hook/page_sites.h"
#include "hypervisor/hypervisor.h"
#include "memory/virtual_memory.h"

namespace glasshook::hook {

/// A page and all that is to be watched on it, for Hypervisor::place().
struct KernelPage {
  Gpa page;
  hypervisor::PageSites sites;
};

/// Collects the hooks of one kernel. Borrows its arguments.
class KernelPlan {
 public:
  /// `kernel` reads through the kernel's own page tables.
  KernelPlan(const linux_guest::KernelSymbols& symbols, const VirtualMemory& kernel)
      : symbols_(&symbols), kernel_(kernel) {}

  /// Puts `hook` at the entry of `function`. With `returns`, also watches everywhere a call of it
  /// may end: its own code and that of functions it jumps to last.
  Result<> add(const linux_guest::Symbol& function, hypervisor::HookId hook, bool returns);

  /// All pages so far, merged. Pages that are not mapped are left out and noted.
  [[nodiscard]] std::vector<KernelPage> pages();
  /// What was left out, for people.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  const linux_guest::KernelSymbols* symbols_;
  VirtualMemory kernel_;
  PageSitesMap sites_;  ///< by virtual page
  std::vector<std::string> notes_;
};

/// The pages of a single hook.
[[nodiscard]] Result<std::vector<KernelPage>> plan_kernel_hook(
    const linux_guest::KernelSymbols& symbols, const VirtualMemory& kernel,
    const linux_guest::Symbol& function, hypervisor::HookId hook, bool returns);

/// The kernel's return thunks: a jump to one of these is a return (retpoline and SRSO, ITS
/// mitigations; arch/x86/lib/retpoline.S).
[[nodiscard]] std::vector<Gva> kernel_return_thunks(const linux_guest::KernelSymbols& symbols);

}  // namespace glasshook::hook
