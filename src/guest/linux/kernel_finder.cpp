#include "guest/linux/kernel_finder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string_view>

#include "guest/linux/btf_check.h"
#include "memory/virtual_memory.h"

namespace glasshook::linux_guest {
namespace {

/// CONFIG_PHYSICAL_ALIGN is at least this on x86-64: image addresses keep their low 21 bits.
constexpr std::uint64_t kImageAlign = 2u << 20;
/// How far from the token table the other tables may lie, either way.
constexpr std::uint64_t kTableReach = kMaxKallsymsBytes / 2;
constexpr std::uint64_t kScanChunk = 16u << 20;
constexpr std::size_t kMaxBanner = 512;
constexpr std::string_view kBannerStart = "Linux version ";

using Handler = std::function<bool(Gpa)>;  ///< false ends the scan

/// Calls `found` wherever the bytes lie within [extent).
bool scan_extent(const PhysicalMemory& memory, PhysicalExtent extent,
                 std::span<const std::byte> needle, const Handler& found) {
  std::vector<std::byte> copy;
  for (std::uint64_t at = 0; at < extent.size; at += kScanChunk) {
    const std::uint64_t size = std::min(kScanChunk + needle.size() - 1, extent.size - at);
    std::span<const std::byte> bytes = memory.view(extent.begin + at, size);
    if (bytes.empty()) {
      copy.resize(size);
      if (!memory.read(extent.begin + at, copy)) continue;
      bytes = copy;
    }
    for (std::size_t from = 0; from < bytes.size();) {
      const void* hit =
          ::memmem(bytes.data() + from, bytes.size() - from, needle.data(), needle.size());
      if (hit == nullptr) break;
      from = static_cast<std::size_t>(static_cast<const std::byte*>(hit) - bytes.data()) + 1;
      if (!found(extent.begin + at + (from - 1))) return false;
    }
  }
  return true;
}

/// Text of the banner at `at`, empty when there is none.
std::string read_banner(const PhysicalMemory& memory, Gpa at) {
  std::array<char, kMaxBanner> text;
  if (!memory.read(at, std::as_writable_bytes(std::span{text}.first(kBannerStart.size()))) ||
      std::string_view{text.data(), kBannerStart.size()} != kBannerStart)
    return {};
  if (!memory.read(at, std::as_writable_bytes(std::span{text}))) return {};
  const std::string_view all{text.data(), text.size()};
  return std::string{all.substr(0, all.find_first_of(std::string_view{"\n\0", 2}))};
}

/// What page tables map in the window of the kernel image, as physical extents in address order.
std::vector<PhysicalExtent> image_extents(const PhysicalMemory& memory, AddressSpace space) {
  constexpr Gva kWindow{0xffff'ffff'8000'0000};  // __START_KERNEL_map
  constexpr std::uint64_t kWindowSize = 1u << 30;
  const VirtualMemory tables{memory, space};
  std::vector<PhysicalExtent> extents;
  for (std::uint64_t at = 0; at < kWindowSize;) {
    const auto where = tables.translate(kWindow + at);
    if (!where) {
      at += kPageSize;
      continue;
    }
    const std::uint64_t size = where->page_size - (kWindow.value + at) % where->page_size;
    if (!extents.empty() && extents.back().begin + extents.back().size == where->gpa)
      extents.back().size += size;
    else
      extents.push_back({.begin = where->gpa, .size = size});
    at += size;
  }
  return extents;
}

/// True when `space` maps an address of the kernel image to where the image lies.
bool maps(const PhysicalMemory& memory, AddressSpace space, Gva address, std::uint64_t delta) {
  const auto where = VirtualMemory{memory, space}.translate(address);
  return where && where->gpa.value == address.value - delta;
}

/// Checks that the kernel's own page tables map banner and kallsyms where they are, so that all of
/// them belong to one live image. Sets the address space.
bool find_page_tables(const PhysicalMemory& memory, Gva banner, Gva init_top_pgt,
                      KernelLocation& location) {
  const std::uint64_t delta = location.image_delta;
  const Gpa root{init_top_pgt.value - delta};
  const Gva kallsyms{location.kallsyms.begin.value + location.kallsyms.token_table + delta};
  for (const bool five_level : {false, true}) {
    location.space = {.root = root, .five_level = five_level};
    if (root.page_offset() == 0 && maps(memory, location.space, banner, delta) &&
        maps(memory, location.space, kallsyms, delta))
      return true;
  }
  return false;
}

/// Finds the image that decoded symbols belong to. The banner keeps its low address bits wherever
/// the image was loaded, so only one place in 2 MiB can hold it.
bool find_image(const PhysicalMemory& memory, const std::vector<PhysicalExtent>& extents,
                const KernelSymbols& symbols, FoundKernel& kernel) {
  const auto banner = symbols.find("linux_banner");
  const auto tables = symbols.find("init_top_pgt");
  if (!banner || !tables) return false;
  for (const PhysicalExtent& extent : extents) {
    const std::uint64_t first = (banner->address.value - extent.begin.value) % kImageAlign;
    for (std::uint64_t at = first; at < extent.size; at += kImageAlign) {
      kernel.banner = read_banner(memory, extent.begin + at);
      if (kernel.banner.empty()) continue;
      kernel.location.image_delta = banner->address.value - (extent.begin + at).value;
      if (find_page_tables(memory, banner->address, tables->address, kernel.location)) return true;
    }
  }
  return false;
}

/// Sets the place of the BTF blob, which lies between two symbols.
void locate_btf(const KernelSymbols& symbols, KernelLocation& location) {
  const auto begin = symbols.find("__start_BTF"), end = symbols.find("__stop_BTF");
  location.btf_size = 0;
  if (!begin || !end || begin->address >= end->address ||
      end->address.value - begin->address.value > kMaxBtfBytes)
    return;
  location.btf = Gpa{begin->address.value - location.image_delta};
  location.btf_size = static_cast<std::uint32_t>(end->address.value - begin->address.value);
}

/// A copy of the tables around a mark.
struct Candidate {
  KallsymsTables tables;
  std::vector<std::byte> bytes;
};

std::optional<Candidate> tables_near(const PhysicalMemory& memory, PhysicalExtent extent, Gpa mark,
                                     KallsymsBudget& budget) {
  const Gpa floor{mark.value - std::min(mark.value - extent.begin.value, kTableReach)};
  const Gpa begin{(floor.value + 7) & ~7ull};
  const std::uint64_t behind =
      std::min(extent.begin.value + extent.size - mark.value, kTableReach - 8);
  if (begin > mark || !budget.take((mark.value - begin.value + behind) / 64)) return std::nullopt;
  std::vector<std::byte> window(mark.value - begin.value + behind);
  if (!memory.read(begin, window)) return std::nullopt;
  auto tables = find_tables(window, mark.value - begin.value, budget);
  if (!tables) return std::nullopt;
  const auto from = window.begin() + static_cast<std::ptrdiff_t>(tables->begin.value);
  tables->begin = begin + tables->begin.value;
  return Candidate{.tables = *tables, .bytes = {from, from + tables->size}};
}

std::unexpected<Error> no_kernel(bool saw_symbols) {
  return with_remedy(
      fail(ErrorCode::not_found, "{}",
           saw_symbols ? "a kernel symbol table was found in the guest's memory, but no running "
                         "kernel that it belongs to"
                       : "no Linux kernel symbol table was found in the guest's memory"),
      "let the guest finish booting; the kernel must be x86-64 Linux 5.10 or later with "
      "CONFIG_KALLSYMS_ALL=y (every distribution sets it)");
}

}  // namespace

Result<FoundKernel> find_kernel(const PhysicalMemory& memory, std::optional<AddressSpace> running) {
  if (running) running->root.value &= kCr3RootMask & ~kPtiUserBit;
  const auto extents = running ? image_extents(memory, *running) : memory.populated();
  FoundKernel kernel;
  KallsymsBudget budget;
  bool found = false, saw_symbols = false;
  const auto try_mark = [&](PhysicalExtent extent, Gpa mark) {
    const auto candidate = tables_near(memory, extent, mark, budget);
    if (!candidate) return;
    auto symbols = decode_symbols(candidate->bytes, candidate->tables);
    if (!symbols) return;
    saw_symbols = true;
    kernel.location.kallsyms = candidate->tables;
    const KernelSymbols index{*symbols};
    found = find_image(memory, extents, index, kernel);
    if (!found) return;
    kernel.symbols = std::move(*symbols);
    locate_btf(index, kernel.location);
  };
  for (const PhysicalExtent& extent : extents) {
    scan_extent(memory, extent, token_table_mark(), [&](Gpa mark) {
      try_mark(extent, mark);
      return !found && budget.steps != 0;
    });
    if (found) return kernel;
  }
  return no_kernel(saw_symbols);
}

Result<FoundKernel> open_kernel(const PhysicalMemory& memory, const KernelLocation& location) {
  const KallsymsTables& tables = location.kallsyms;
  std::vector<std::byte> copy(std::min(tables.size, kMaxKallsymsBytes));
  if (!memory.read(tables.begin, copy))
    return fail(ErrorCode::guest_fault, "the kernel's symbol tables are outside the guest's RAM");
  auto symbols = decode_symbols(copy, tables);
  if (!symbols) return std::unexpected(symbols.error());
  const KernelSymbols index{*symbols};
  const auto banner = index.find("linux_banner"), top = index.find("init_top_pgt");
  FoundKernel kernel{.location = location, .symbols = std::move(*symbols), .banner = {}};
  if (banner)
    kernel.banner = read_banner(memory, Gpa{banner->address.value - location.image_delta});
  if (kernel.banner.empty() || !top ||
      !find_page_tables(memory, banner->address, top->address, kernel.location))
    return with_remedy(fail(ErrorCode::not_found, "the kernel is not where it was before"),
                       "the guest was rebooted since: search its memory again");
  locate_btf(index, kernel.location);
  return kernel;
}

}  // namespace glasshook::linux_guest
