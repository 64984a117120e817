#include "guest/linux/memory_map.h"

#include <array>
#include <cstring>
#include <utility>

#include "guest/linux/maple_tree.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxAreas = 1u << 18;
constexpr std::size_t kMaxVmaBytes = 1024;
constexpr int kMaxTreeDepth = 64;
/// include/linux/mm.h
constexpr std::uint64_t kVmRead = 1, kVmWrite = 2, kVmExec = 4, kVmMayShare = 0x80;
/// include/linux/kdev_t.h
constexpr int kMinorBits = 20;

/// A vm_area_struct copied out of the guest in one go, so that its members fit together.
class Vma {
 public:
  static std::optional<Vma> read(const LinuxKernel& kernel, Gva at) {
    Vma vma;
    const std::uint32_t size = kernel.layout().vma.size;
    if (!at.is_kernel() || size == 0 || size > kMaxVmaBytes ||
        !kernel.virtual_memory().read(at, std::span{vma.bytes_}.first(size)))
      return std::nullopt;
    vma.size_ = size;
    return vma;
  }
  /// A member, 0 when the kernel has none of that name.
  [[nodiscard]] std::uint64_t word(Offset member) const {
    std::uint64_t value = 0;
    if (member.present() && member.bytes() + sizeof value <= size_)
      std::memcpy(&value, bytes_.data() + member.bytes(), sizeof value);
    return value;
  }

 private:
  std::array<std::byte, kMaxVmaBytes> bytes_;
  std::uint32_t size_ = 0;
};

/// Name of an area that no file backs, as fs/proc/task_mmu.c gives it.
std::string special_name(const LinuxKernel& kernel, Gva mm, const Vma& vma,
                         const MemoryArea& area) {
  const Layout& l = kernel.layout();
  const auto special = kernel.symbol("special_mapping_vmops");
  if (special && vma.word(l.vma.ops) == special->value) {
    const Gva mapping{vma.word(l.vma.private_data)};
    const auto name = kernel.pointer(mapping, l.special_mapping.name);
    return name ? kernel.text(*name, 64) : std::string{};
  }
  const auto bound = [&](Offset member) {
    return Gva{kernel.read<std::uint64_t>(mm, member).value_or(0)};
  };
  if (area.start < bound(l.mm.brk) && area.end > bound(l.mm.start_brk)) return "[heap]";
  const Gva stack = bound(l.mm.start_stack);
  if (area.start <= stack && area.end >= stack && !stack.is_null()) return "[stack]";
  const Gva name{vma.word(l.vma.anon_name)};
  if (name.is_kernel() && l.anon_vma_name.name.present())
    return fmt::format("[anon:{}]", kernel.text(name + l.anon_vma_name.name.bytes(), 80));
  return {};
}

Result<MemoryArea> read_area(const LinuxKernel& kernel, Gva mm, Gva at) {
  const Layout& l = kernel.layout();
  const auto vma = Vma::read(kernel, at);
  if (!vma) return fail(ErrorCode::guest_fault, "there is no memory area at {:#x}", at.value);
  const std::uint64_t flags = vma->word(l.vma.flags);
  MemoryArea area;
  area.start = Gva{vma->word(l.vma.start)};
  area.end = Gva{vma->word(l.vma.end)};
  if (area.start >= area.end || area.end.is_kernel() || area.start.page_offset() != 0)
    return fail(ErrorCode::guest_fault, "there is no memory area at {:#x}", at.value);
  area.readable = (flags & kVmRead) != 0;
  area.writable = (flags & kVmWrite) != 0;
  area.executable = (flags & kVmExec) != 0;
  area.shared = (flags & kVmMayShare) != 0;
  area.file = Gva{vma->word(l.vma.file)};
  if (!area.file.is_kernel()) {
    area.file = {};
    area.special = special_name(kernel, mm, *vma, area);
    return area;
  }
  area.file_offset = vma->word(l.vma.pgoff) * kPageSize;
  const InodeId inode = inode_id(kernel, user_inode(kernel, area.file));
  area.inode = inode.number;
  area.device_major = inode.device_major;
  area.device_minor = inode.device_minor;
  return area;
}

/// Before 6.1: the areas are a linked list too.
Listing<Gva> linked_vmas(const LinuxKernel& kernel, Gva mm) {
  const Layout& l = kernel.layout();
  Listing<Gva> walk;
  std::uint64_t before = 0;
  auto vma = kernel.pointer(mm, l.mm.mmap);
  while (vma && !vma->is_null()) {
    // Areas ascend, so a list that runs in a circle is seen at once.
    const auto start = kernel.read<std::uint64_t>(*vma, l.vma.start);
    if (!start || (*start <= before && !walk.items.empty())) {
      walk.incomplete = fail(ErrorCode::guest_fault, "the memory areas are out of order").error();
      return walk;
    }
    if (walk.items.size() == kMaxAreas) {
      walk.incomplete =
          fail(ErrorCode::limit, "a process has more than {} memory areas", kMaxAreas).error();
      return walk;
    }
    before = *start;
    walk.items.push_back(*vma);
    vma = kernel.pointer(*vma, l.vma.next);
  }
  if (!vma) walk.incomplete = fail(ErrorCode::guest_fault, "the memory areas break off").error();
  return walk;
}

/// Before 6.1: the areas are a red-black tree, ordered by address.
std::optional<Gva> find_in_tree(const LinuxKernel& kernel, Gva mm, Gva address) {
  const Layout& l = kernel.layout();
  auto node = kernel.pointer(mm, l.mm.mm_rb);
  for (int depth = 0; depth < kMaxTreeDepth && node && !node->is_null(); ++depth) {
    const Gva vma = *node - l.vma.rb.bytes();
    const auto start = kernel.read<std::uint64_t>(vma, l.vma.start);
    const auto end = kernel.read<std::uint64_t>(vma, l.vma.end);
    if (!start || !end) return std::nullopt;
    if (address.value >= *start && address.value < *end) return vma;
    node = kernel.pointer(*node, address.value < *start ? l.rb.left : l.rb.right);
  }
  return std::nullopt;
}

}  // namespace

Listing<Gva> all_vmas(const LinuxKernel& kernel, Gva mm) {
  const Layout& l = kernel.layout();
  if (!l.mm.mm_mt.present()) return linked_vmas(kernel, mm);
  const auto root = kernel.read<std::uint64_t>(mm, l.mm.mm_mt);
  if (root) return maple_entries(kernel, *root, kMaxAreas);
  return {.items = {},
          .incomplete = fail(ErrorCode::guest_fault, "there is no mm at {:#x}", mm.value).error()};
}

std::optional<Gva> find_vma(const LinuxKernel& kernel, Gva mm, Gva address) {
  const Layout& l = kernel.layout();
  if (!l.mm.mm_mt.present()) return find_in_tree(kernel, mm, address);
  const auto root = kernel.read<std::uint64_t>(mm, l.mm.mm_mt);
  return root ? maple_find(kernel, *root, address.value) : std::nullopt;
}

InodeId inode_id(const LinuxKernel& kernel, Gva inode) {
  const Layout& l = kernel.layout();
  InodeId id;
  id.number = kernel.read<std::uint64_t>(inode, l.inode.ino).value_or(0);
  const auto sb = kernel.pointer(inode, l.inode.sb);
  const auto device = sb ? kernel.read<std::uint32_t>(*sb, l.super_block.dev) : std::nullopt;
  id.device_major = device.value_or(0) >> kMinorBits;
  id.device_minor = device.value_or(0) & ((1u << kMinorBits) - 1);
  return id;
}

Result<MemoryArea> area_at(const LinuxKernel& kernel, Gva mm, Gva address) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const auto vma = find_vma(kernel, mm, address);
  if (!vma) return fail(ErrorCode::not_found, "nothing is mapped at {:#x}", address.value);
  auto area = read_area(kernel, mm, *vma);
  if (area && (address < area->start || address >= area->end))
    return fail(ErrorCode::guest_fault, "the memory areas of the process do not fit together");
  return area;
}

Result<Listing<MemoryArea>> areas(const LinuxKernel& kernel, Gva mm, PathRef root) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  auto vmas = all_vmas(kernel, mm);
  Listing<MemoryArea> listing{.items = {}, .incomplete = std::move(vmas.incomplete)};
  ListingBudget budget;
  for (const Gva vma : vmas.items) {
    auto area = read_area(kernel, mm, vma);
    if (!area) {
      if (!listing.incomplete) listing.incomplete = area.error();
      continue;
    }
    const bool same = !listing.items.empty() && listing.items.back().file == area->file;
    if (!area->file.is_null())
      area->path = same ? listing.items.back().path : file_path(kernel, area->file, root);
    const bool enough = budget.take(area->path.cost());
    listing.items.push_back(std::move(*area));
    if (!enough) {
      listing.incomplete = ListingBudget::used_up();
      break;
    }
  }
  return listing;
}

Listing<MemoryArea> file_areas(const LinuxKernel& kernel, Gva mm) {
  auto vmas = all_vmas(kernel, mm);
  Listing<MemoryArea> listing{.items = {}, .incomplete = std::move(vmas.incomplete)};
  for (const Gva vma : vmas.items) {
    const auto file = kernel.pointer(vma, kernel.layout().vma.file);
    if (!file || file->is_null()) continue;
    if (auto area = read_area(kernel, mm, vma)) listing.items.push_back(std::move(*area));
  }
  return listing;
}

}  // namespace glasshook::linux_guest
