#include "guest/linux/kernel_code.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "guest/linux/modules.h"

namespace glasshook::linux_guest {
namespace {

using Page = std::array<std::byte, kPageSize>;

/// Where a jump or call at `at` leads: near ones, and `mov $target, %reg` before an indirect one.
std::optional<Gva> target_of(std::span<const std::byte> code, Gva at) {
  constexpr std::byte kCall{0xe8}, kJump{0xe9}, kRexW{0x48}, kRexWB{0x49};
  if (code.size() >= 5 && (code[0] == kCall || code[0] == kJump)) {
    std::int32_t distance = 0;
    std::memcpy(&distance, code.data() + 1, sizeof distance);
    return at + 5 + static_cast<std::uint64_t>(static_cast<std::int64_t>(distance));
  }
  const bool moves = code.size() >= 10 && (code[0] == kRexW || code[0] == kRexWB) &&
                     (code[1] & std::byte{0xf8}) == std::byte{0xb8};
  if (!moves) return std::nullopt;
  std::uint64_t target = 0;
  std::memcpy(&target, code.data() + 2, sizeof target);
  return Gva{target}.is_kernel() ? std::optional{Gva{target}} : std::nullopt;
}

}  // namespace

KernelCode::KernelCode(const LinuxKernel& kernel) : kernel_(&kernel) {
  const auto begin = kernel.symbol("_stext"), end = kernel.symbol("_etext");
  if (!begin || !end || *end <= *begin) return;
  add_region(begin->page(), end->value - begin->page().value, {});
  follow_modules();
}

void KernelCode::add_region(Gva begin, std::uint64_t size, Gva module) {
  const std::uint64_t whole = (size + kPageMask) & ~kPageMask;
  if (!begin.is_kernel() || begin.page_offset() != 0 || whole == 0 || whole > kMaxBytes - bytes_)
    return;
  // A lying list of modules: what overlaps is not copied twice.
  const auto after = regions_.lower_bound(begin);
  if (after != regions_.end() && after->first < begin + whole) return;
  if (after != regions_.begin()) {
    const auto& [at, before] = *std::prev(after);
    if (at + before.bytes.size() > begin) return;
  }
  Region region{.bytes = std::vector<std::byte>(whole), .module = module};
  const std::size_t got = kernel_->virtual_memory().read_some(begin, region.bytes);
  region.bytes.resize(got & ~kPageMask);
  if (region.bytes.empty()) return;
  bytes_ += region.bytes.size();
  regions_.emplace(begin, std::move(region));
}

void KernelCode::follow_modules() {
  if (regions_.empty()) return;
  const auto loaded = modules(*kernel_);
  if (!loaded || loaded->incomplete) return;
  const auto fits = [](const ModuleInfo& module, Gva at, const Region& region) {
    return module.address == region.module && module.base == at;
  };
  for (auto it = regions_.begin(); it != regions_.end();) {
    const auto& [at, region] = *it;
    const bool gone = !region.module.is_null() &&
                      std::ranges::none_of(loaded->items, [&](const ModuleInfo& module) {
                        return fits(module, it->first, it->second);
                      });
    if (gone) bytes_ -= region.bytes.size();
    it = gone ? regions_.erase(it) : std::next(it);
  }
  for (const ModuleInfo& module : loaded->items) {
    const auto known = regions_.find(module.base);
    const bool copied = known != regions_.end() && fits(module, known->first, known->second);
    // A module's code is finished once it is live.
    if (!copied && module.live && module.code_size <= kMaxModuleBytes)
      add_region(module.base, module.code_size, module.address);
  }
}

std::span<std::byte> KernelCode::copy_of(Gva page) {
  const auto after = regions_.upper_bound(page);
  if (after == regions_.begin()) return {};
  auto& [begin, region] = *std::prev(after);
  const std::uint64_t offset = page.value - begin.value;
  if (offset >= region.bytes.size()) return {};
  return std::span{region.bytes}.subspan(offset, kPageSize);
}

void KernelCode::patched(Gva address, std::uint64_t length) {
  if (length == 0 || length > kPageSize) length = kPageSize;
  if (patch_count_ >= kMaxPatches) {
    // Function tracing was switched on, or somebody hides in the crowd: nobody can say any more.
    trust_until_ = look_ + kPatchLooks;
    patches_.clear();
    patch_count_ = 0;
  }
  if (length > ~address.value) return;  // beyond the end of the address space
  const Gva end = address + length;
  for (Gva page = address.page(); page < end && page >= address.page(); page = page + kPageSize) {
    patches_[page].push_back({.begin = address, .end = end, .look = look_});
    ++patch_count_;
  }
}

bool KernelCode::is_patched(Gva address) const {
  if (look_ <= trust_until_) return true;
  const auto page = patches_.find(address.page());
  return page != patches_.end() && std::ranges::any_of(page->second, [&](const Patch& patch) {
           return address >= patch.begin && address < patch.end;
         });
}

void KernelCode::forget_old_patches() {
  for (auto it = patches_.begin(); it != patches_.end();) {
    patch_count_ -= std::erase_if(
        it->second, [&](const Patch& patch) { return patch.look + kPatchLooks < look_; });
    it = it->second.empty() ? patches_.erase(it) : std::next(it);
  }
}

std::set<Gva> KernelCode::next_pages(std::size_t count) {
  std::set<Gva> pages;
  const std::size_t all = bytes_ / kPageSize;
  for (std::size_t i = 0; i < std::min(count, all); ++i) {
    if (copy_of(next_).empty()) {
      const auto region = regions_.upper_bound(next_);
      next_ = region == regions_.end() ? regions_.begin()->first : region->first;
    }
    pages.insert(next_);
    next_ = next_ + kPageSize;
  }
  return pages;
}

std::vector<CodeChange> KernelCode::compare(std::span<const Gva> often, std::size_t pages,
                                            std::size_t limit) {
  std::vector<CodeChange> changes;
  if (regions_.empty()) return changes;
  ++look_;
  // While all is taken over, all is looked at.
  std::set<Gva> due = next_pages(look_ <= trust_until_ ? bytes_ / kPageSize : pages);
  for (const Gva address : often) due.insert(address.page());
  for (const auto& [page, since] : waiting_) due.insert(page);
  for (const auto& [page, patches] : patches_) due.insert(page);
  for (const Gva page : due) {
    if (changes.size() >= limit) break;
    if (auto change = compare_page(page)) changes.push_back(std::move(*change));
  }
  forget_old_patches();
  return changes;
}

std::optional<CodeChange> KernelCode::compare_page(Gva page) {
  const std::span<std::byte> copy = copy_of(page);
  Page now;
  if (copy.empty() || !kernel_->virtual_memory().read(page, now) || std::ranges::equal(copy, now)) {
    waiting_.erase(page);
    return std::nullopt;
  }
  CodeChange change;
  for (std::size_t i = 0; i < kPageSize; ++i) {
    if (copy[i] == now[i]) continue;
    if (is_patched(page + i)) {
      copy[i] = now[i];
    } else if (change.bytes++ == 0) {
      change.address = page + i;
    }
  }
  if (change.bytes == 0) {
    waiting_.erase(page);
    return std::nullopt;
  }
  // What the kernel says of its own writing may come after the write is seen: look twice.
  if (waiting_.emplace(page, look_).second) return std::nullopt;
  describe(change, copy, now);
  std::ranges::copy(now, copy.begin());
  waiting_.erase(page);
  return change;
}

void KernelCode::describe(CodeChange& change, std::span<const std::byte> before,
                          std::span<const std::byte> now) const {
  const Gva page = change.address.page();
  const std::size_t first = change.address.page_offset();
  std::vector<std::size_t> places{first};
  for (std::size_t i = first; i < kPageSize; ++i) {
    if (before[i] == now[i]) continue;
    const auto symbol = kernel_->symbols().at(page + i);
    if (!symbol) continue;
    if (std::ranges::find(change.functions, symbol->name) != change.functions.end()) continue;
    if (change.functions.size() == CodeChange::kMaxFunctions) break;
    change.functions.push_back(symbol->name);
    // Behind `endbr64`, too.
    for (const std::uint64_t skipped : {0u, 4u})
      if (const std::uint64_t at = symbol->address.value + skipped - page.value; at < kPageSize)
        places.push_back(at);
  }
  for (const std::size_t place : places) {
    const auto code = now.subspan(place);
    const std::size_t length = std::min<std::size_t>(code.size(), 5);
    if (std::ranges::equal(code.first(length), before.subspan(place, length))) continue;
    if ((change.target = target_of(code, page + place))) return;
  }
}

}  // namespace glasshook::linux_guest
