// Collects entry sites and return ranges, page by page.
#pragma once

#include <cstdint>
#include <map>

#include "hypervisor/hypervisor.h"

namespace glasshook::hook {

/// Sites by page number (address / kPageSize), in whatever address space the caller counts in.
class PageSitesMap {
 public:
  void add_entry(std::uint64_t address, hypervisor::HookId hook);
  /// [begin, end), cut at page boundaries; ranges that touch become one.
  void add_returns(std::uint64_t begin, std::uint64_t end);

  /// An instruction that returns, in a range.
  void add_return_place(std::uint64_t address);

  /// Sites of a page, or nullptr.
  [[nodiscard]] const hypervisor::PageSites* find(std::uint64_t page) const;
  [[nodiscard]] const std::map<std::uint64_t, hypervisor::PageSites>& pages() const {
    return pages_;
  }

 private:
  std::map<std::uint64_t, hypervisor::PageSites> pages_;
};

}  // namespace glasshook::hook
