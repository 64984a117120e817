// What to watch on one code page, in the form a hit needs.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <memory>
#include <span>
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
    if (!entries_.empty()) sites_end_ = entries_.back().first + 1u;
    for (const ReturnRange& range : returns_)
      sites_end_ = std::max<std::uint64_t>(sites_end_, range.end);
  }

  [[nodiscard]] bool user() const { return user_; }
  [[nodiscard]] bool report_placements() const { return report_placements_; }
  [[nodiscard]] bool has_sites() const { return !entries_.empty() || !returns_.empty(); }
  /// Whether there is a site at `offset` or behind it.
  [[nodiscard]] bool has_sites_from(std::uint64_t offset) const { return offset < sites_end_; }
  [[nodiscard]] bool enters_at(std::uint16_t offset) const { return entry_bits_[offset]; }
  [[nodiscard]] bool returns_at(std::uint16_t offset) const {
    return std::any_of(returns_.begin(), returns_.end(),
                       [&](const ReturnRange& r) { return offset >= r.begin && offset < r.end; });
  }

  /// A hook and where on the page it begins.
  using Entry = std::pair<std::uint16_t, std::shared_ptr<HookSlot>>;
  using Entries = std::span<const Entry>;

  /// The hooks that begin at `offset`; as long as the page.
  [[nodiscard]] Entries hooks_at(std::uint16_t offset) const {
    const auto [begin, end] = std::ranges::equal_range(entries_, offset, {}, &Entry::first);
    return {begin, end};
  }

 private:
  bool user_;
  bool report_placements_;
  std::uint64_t sites_end_ = 0;
  std::bitset<kPageSize> entry_bits_;
  std::vector<Entry> entries_;
  std::vector<ReturnRange> returns_;
};

}  // namespace glasshook::hypervisor::probe
