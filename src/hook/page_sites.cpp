#include "hook/page_sites.h"

#include <algorithm>

#include "base/guest_address.h"

namespace glasshook::hook {
namespace {

using hypervisor::PageSites;
using hypervisor::ReturnRange;

void merge(std::vector<ReturnRange>& ranges, ReturnRange range) {
  // Those that overlap or touch `range` become part of it.
  std::erase_if(ranges, [&](const ReturnRange& other) {
    if (other.end < range.begin || range.end < other.begin) return false;
    range = {std::min(range.begin, other.begin), std::max(range.end, other.end)};
    return true;
  });
  ranges.insert(std::ranges::upper_bound(ranges, range.begin, {}, &ReturnRange::begin), range);
}

}  // namespace

void PageSitesMap::add_entry(std::uint64_t address, hypervisor::HookId hook) {
  const auto offset = static_cast<std::uint16_t>(address & kPageMask);
  std::vector<hypervisor::EntrySite>& entries = pages_[address / kPageSize].entries;
  const bool known = std::ranges::any_of(
      entries, [&](const auto& site) { return site.offset == offset && site.hook == hook; });
  if (!known) entries.push_back({offset, hook});
}

void PageSitesMap::add_returns(std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    const std::uint64_t page_end = (begin & ~kPageMask) + kPageSize;
    // At the last page of the address space the end wraps around to 0.
    const std::uint64_t piece_end = page_end == 0 ? end : std::min(end, page_end);
    merge(pages_[begin / kPageSize].returns,
          {static_cast<std::uint16_t>(begin & kPageMask),
           static_cast<std::uint16_t>(piece_end - (begin & ~kPageMask))});
    begin = piece_end;
  }
}

void PageSitesMap::add_return_place(std::uint64_t address) {
  auto& places = pages_[address / kPageSize].return_places;
  const auto offset = static_cast<std::uint16_t>(address & kPageMask);
  const auto at = std::ranges::lower_bound(places, offset);
  if (at == places.end() || *at != offset) places.insert(at, offset);
}

const PageSites* PageSitesMap::find(std::uint64_t page) const {
  const auto found = pages_.find(page);
  return found == pages_.end() ? nullptr : &found->second;
}

}  // namespace glasshook::hook
