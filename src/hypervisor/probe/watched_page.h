// What to watch on one code page, in the form a hit needs.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/hook_table.h"

namespace glasshook::hypervisor::probe {

/// Immutable once built; sites that name unknown hooks or lie off the page are left out.
class WatchedPage {
 public:
  WatchedPage(const PageSites& sites, const HookTable& hooks, bool user)
      : user_(user), report_placements_(sites.report_placements) {
    for (const EntrySite& site : sites.entries) {
      std::shared_ptr<HookSlot> hook = hooks.find(site.hook);
      if (hook == nullptr || site.offset >= kPageSize) continue;
      entries_.emplace_back(site.offset, std::move(hook));
      entry_bits_.set(site.offset);
    }
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const ReturnRange& range : sites.returns)
      if (range.begin < range.end && range.end <= kPageSize) returns_.push_back(range);
  }

  [[nodiscard]] bool user() const { return user_; }
  [[nodiscard]] bool report_placements() const { return report_placements_; }
  [[nodiscard]] bool has_sites() const { return !entries_.empty() || !returns_.empty(); }
  [[nodiscard]] bool enters_at(std::uint16_t offset) const { return entry_bits_[offset]; }
  [[nodiscard]] bool returns_at(std::uint16_t offset) const {
    return std::any_of(returns_.begin(), returns_.end(),
                       [&](const ReturnRange& r) { return offset >= r.begin && offset < r.end; });
  }

  /// Calls `f(HookSlot&)` for every hook that begins at `offset`.
  template <class F>
  void for_each_hook(std::uint16_t offset, F&& f) const {
    auto it = std::lower_bound(entries_.begin(), entries_.end(), offset,
                               [](const auto& e, std::uint16_t o) { return e.first < o; });
    for (; it != entries_.end() && it->first == offset; ++it) f(*it->second);
  }

 private:
  bool user_;
  bool report_placements_;
  std::bitset<kPageSize> entry_bits_;
  std::vector<std::pair<std::uint16_t, std::shared_ptr<HookSlot>>> entries_;
  std::vector<ReturnRange> returns_;
};

}  // namespace glasshook::hypervisor::probe
