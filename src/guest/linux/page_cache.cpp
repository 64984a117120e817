#include "guest/linux/page_cache.h"

#include <algorithm>

namespace glasshook::linux_guest {
namespace {

// Entries of an xarray: pointers have the low bits 00, internal entries 10, values (here: shadows
// of evicted pages) x1. Small internal entries point to the slot of a multi-page folio.
constexpr std::uint64_t kTagMask = 3;
constexpr std::uint64_t kInternal = 2;
constexpr std::uint64_t kSlots = 64;
constexpr std::uint64_t kLastSibling = (kSlots - 2) << 2 | kInternal;
constexpr int kMaxDepth = 11;  // 64 bits of index, six a level

}  // namespace

Result<PageCache> PageCache::of(const LinuxKernel& kernel) {
  if (auto typed = kernel.require_types(); !typed) return std::unexpected(typed.error());
  const KernelTypes& types = *kernel.types();
  PageCache cache(kernel);
  const auto head = types.offset("address_space", "i_pages.xa_head");
  const auto shift = types.offset("xa_node", "shift");
  const auto slots = types.offset("xa_node", "slots");
  const Offset index = kernel.layout().page.index;
  const auto flags = types.offset("page", "flags");
  const auto flag = [&](const char* name) {
    const auto bit = types.find_enumerator(name);
    return bit && *bit >= 0 && *bit < 64 ? std::uint64_t{1} << *bit : 0;
  };
  const auto host = types.offset("address_space", "host");
  const auto inode_size = types.offset("inode", "i_size");
  const auto super_block = types.offset("inode", "i_sb");
  const auto bdi = types.offset("super_block", "s_bdi");
  const auto capabilities = types.offset("backing_dev_info", "capabilities");
  const auto base = kernel.symbol("vmemmap_base");
  const auto vmemmap = base ? kernel.read<std::uint64_t>(*base) : std::nullopt;
  const auto page = types.find_struct("page");
  const bool known = head && shift && slots && index.present() && flags && host && inode_size &&
                     super_block && bdi && capabilities;
  if (!known || !vmemmap || !page)
    return fail(ErrorCode::unsupported, "this kernel's page cache has an unknown layout");
  cache.head_ = *head;
  cache.shift_ = *shift;
  cache.slots_ = *slots;
  cache.page_index_ = index.bytes();
  cache.page_flags_ = *flags;
  cache.up_to_date_ = flag("PG_uptodate");
  cache.unwritten_ = flag("PG_dirty") | flag("PG_writeback");
  cache.host_ = *host;
  cache.inode_size_ = *inode_size;
  cache.inode_super_block_ = *super_block;
  cache.super_block_bdi_ = *bdi;
  cache.bdi_capabilities_ = *capabilities;
  cache.vmemmap_ = *vmemmap;
  cache.page_size_ = static_cast<std::uint32_t>(types.size(*page));
  if (cache.page_size_ == 0) return fail(ErrorCode::unsupported, "struct page has no size");
  return cache;
}

std::optional<std::uint64_t> PageCache::entry(Gva mapping, std::uint64_t index) const noexcept {
  auto entry = kernel_->read<std::uint64_t>(mapping + head_);
  for (int depth = 0; entry && depth < kMaxDepth; ++depth) {
    if ((*entry & kTagMask) != kInternal) return index == 0 || depth > 0 ? entry : std::nullopt;
    const Gva node{*entry - kInternal};
    const auto shift = kernel_->read<std::uint8_t>(node + shift_);
    if (!shift || *shift > 60) return std::nullopt;
    const bool beyond_the_tree = depth == 0 && *shift < 58 && index >> (*shift + 6) != 0;
    if (beyond_the_tree) return std::nullopt;
    const auto slot_at = [&](std::uint64_t slot) {
      return kernel_->read<std::uint64_t>(node + slots_ + slot * sizeof(std::uint64_t));
    };
    entry = slot_at(index >> *shift & (kSlots - 1));
    if (entry && (*entry & kTagMask) == kInternal && *entry <= kLastSibling)
      entry = slot_at(*entry >> 2);
    if (*shift == 0 && entry && (*entry & kTagMask) == kInternal) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<Gpa> PageCache::find(Gva mapping, std::uint64_t index) const noexcept {
  return find(mapping, index, 0);
}

std::optional<Gpa> PageCache::find_clean(Gva mapping, std::uint64_t index) const noexcept {
  return find(mapping, index, is_written_back(mapping) ? unwritten_ : 0);
}

bool PageCache::is_written_back(Gva mapping) const noexcept {
  constexpr std::uint32_t kWriteback = 1;  // include/linux/backing-dev.h: BDI_CAP_WRITEBACK
  const auto of = inode(mapping);
  const auto sb = of ? kernel_->read<std::uint64_t>(*of + inode_super_block_) : std::nullopt;
  const auto bdi = sb ? kernel_->read<std::uint64_t>(Gva{*sb} + super_block_bdi_) : std::nullopt;
  const auto can = bdi ? kernel_->read<std::uint32_t>(Gva{*bdi} + bdi_capabilities_) : std::nullopt;
  return !can || (*can & kWriteback) != 0;
}

std::optional<Gpa> PageCache::find(Gva mapping, std::uint64_t index,
                                   std::uint64_t unwanted) const noexcept {
  const auto found = entry(mapping, index);
  if (!found || *found == 0 || (*found & kTagMask) != 0) return std::nullopt;
  // A folio of several pages is found by its first page, which knows its own index.
  const auto first = kernel_->read<std::uint64_t>(Gva{*found} + page_index_);
  if (!first || *first > index || *found < vmemmap_) return std::nullopt;
  const auto flags = kernel_->read<std::uint64_t>(Gva{*found} + page_flags_);
  if (!flags || (*flags & up_to_date_) != up_to_date_ || (*flags & unwanted) != 0)
    return std::nullopt;
  constexpr std::uint64_t kLargestFolio = 512;
  const std::uint64_t distance = index - *first;
  if (distance >= kLargestFolio) return std::nullopt;
  const std::uint64_t frame = (*found - vmemmap_) / page_size_ + distance;
  return Gpa{frame * kPageSize};
}

std::optional<Gva> PageCache::inode(Gva mapping) const noexcept {
  const auto inode = kernel_->read<std::uint64_t>(mapping + host_);
  return inode ? std::optional(Gva{*inode}) : std::nullopt;
}

std::uint64_t PageCache::file_size(Gva mapping) const noexcept {
  const auto of = inode(mapping);
  return of ? kernel_->read<std::uint64_t>(*of + inode_size_).value_or(0) : 0;
}

bool PageCache::read(Gva mapping, std::uint64_t offset, std::span<std::byte> out) const noexcept {
  while (!out.empty()) {
    const std::uint64_t in_page = offset % kPageSize;
    const std::size_t chunk = std::min<std::size_t>(out.size(), kPageSize - in_page);
    const auto page = find(mapping, offset / kPageSize);
    if (!page || !kernel_->memory().read(*page + in_page, out.first(chunk))) return false;
    out = out.subspan(chunk);
    offset += chunk;
  }
  return true;
}

}  // namespace glasshook::linux_guest
