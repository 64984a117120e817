#include "guest/linux/code_page.h"

#include <array>
#include <optional>

#include "guest/linux/memory_map.h"

namespace glasshook::linux_guest {
namespace {

/// include/linux/page-flags.h: the low bits of page->mapping say what it points to.
constexpr std::uint64_t kMappingFlags = 3, kMappingAnonymous = 1;
/// page->compound_head with this bit set points to the first page of a large one.
constexpr std::uint64_t kTail = 1;
/// arch/x86/include/asm/vsyscall.h
constexpr Gva kVsyscall{0xffff'ffff'ff60'0000};

/// `page->mapping` of the page at a physical address.
std::optional<std::uint64_t> page_mapping(const LinuxKernel& kernel, Gpa at) {
  const auto& l = kernel.layout().page;
  const auto base = kernel.symbol("vmemmap_base");
  const auto vmemmap = base ? kernel.pointer(*base) : std::nullopt;
  if (!vmemmap || vmemmap->is_null() || l.size == 0) return std::nullopt;
  Gva page = *vmemmap + at.value / kPageSize * l.size;
  const auto head = kernel.read<std::uint64_t>(page, l.compound_head);
  if (!head) return std::nullopt;
  if ((*head & kTail) != 0) page = Gva{*head - kTail};
  return kernel.read<std::uint64_t>(page, l.mapping);
}

/// Compares what the page tables show with what the area promises.
CodePageKind kind_of_file_page(const LinuxKernel& kernel, Gva mm, Gva file, Gva address) {
  const auto space = kernel.space_of(mm);
  const auto where =
      space ? VirtualMemory{kernel.memory(), *space}.translate(address) : std::nullopt;
  if (!where) return CodePageKind::unknown;  // not paged in yet: nothing has run there
  const auto mapping = page_mapping(kernel, where->gpa);
  const auto expected = kernel.pointer(file, kernel.layout().file.mapping);
  if (!mapping || !expected) return CodePageKind::unknown;
  if ((*mapping & kMappingFlags) == kMappingAnonymous) return CodePageKind::private_copy;
  return *mapping == expected->value ? CodePageKind::file : CodePageKind::unknown;
}

}  // namespace

std::string_view to_string(CodePageKind kind) {
  static constexpr std::array<std::string_view, 5> kNames{"unknown", "file", "private copy",
                                                          "anonymous", "vdso"};
  return kNames[static_cast<std::size_t>(kind)];
}

CodePage code_page(const LinuxKernel& kernel, Gva mm, Gva address) {
  CodePage page;
  const Gva start = address - address.page_offset();
  if (start == kVsyscall) {
    page.kind = CodePageKind::vdso;
    return page;
  }
  const auto area = area_at(kernel, mm, address);
  if (!area) return page;
  page.area_start = area->start;
  page.area_end = area->end;
  page.writable = area->writable;
  if (area->file.is_null()) {
    const bool given = area->special.starts_with("[v");
    page.kind = given ? CodePageKind::vdso : CodePageKind::anonymous;
    return page;
  }
  page.file = area->file;
  page.inode = area->inode;
  page.device_major = area->device_major;
  page.device_minor = area->device_minor;
  page.file_offset = area->file_offset + (start.value - area->start.value);
  page.kind = kind_of_file_page(kernel, mm, area->file, address);
  return page;
}

}  // namespace glasshook::linux_guest
