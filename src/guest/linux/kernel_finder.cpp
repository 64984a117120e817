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
constexpr std::uint64_t kTableReach = 16u << 20;
static_assert(2 * kTableReach <= kMaxKallsymsBytes);
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

/// Address of a symbol.
std::optional<Gva> find(const std::vector<Symbol>& symbols, std::string_view name) {
  const auto at = std::ranges::find(symbols, name, &Symbol::name);
  return at == symbols.end() ? std::nullopt : std::optional{at->address};
}

/// The symbols that say where the image lies.
struct Landmarks {
  Gva banner, init_top_pgt;

  static std::optional<Landmarks> of(const std::vector<Symbol>& symbols) {
    const auto banner = find(symbols, "linux_banner"), tables = find(symbols, "init_top_pgt");
    if (!banner || !tables) return std::nullopt;
    return Landmarks{.banner = *banner, .init_top_pgt = *tables};
  }
};

/// Checks that the kernel's own page tables map banner and kallsyms where they are, so that all of
/// them belong to one live image. Sets the address space.
bool find_page_tables(const PhysicalMemory& memory, const Landmarks& marks,
                      KernelLocation& location) {
  const std::uint64_t delta = location.image_delta;
  const Gpa root{marks.init_top_pgt.value - delta};
  const Gva kallsyms{location.kallsyms.begin.value + location.kallsyms.token_table + delta};
  for (const bool five_level : {false, true}) {
    location.space = {.root = root, .five_level = five_level};
    if (root.page_offset() == 0 && maps(memory, location.space, marks.banner, delta) &&
        maps(memory, location.space, kallsyms, delta))
      return true;
  }
  return false;
}

/// Finds the image that decoded symbols belong to. The banner keeps its low address bits wherever
/// the image was loaded, so only one place in 2 MiB can hold it.
bool find_image(const PhysicalMemory& memory, const std::vector<PhysicalExtent>& extents,
                const Landmarks& marks, FoundKernel& kernel) {
  for (const PhysicalExtent& extent : extents) {
    const std::uint64_t first = (marks.banner.value - extent.begin.value) % kImageAlign;
    for (std::uint64_t at = first; at < extent.size; at += kImageAlign) {
      kernel.banner = read_banner(memory, extent.begin + at);
      if (kernel.banner.empty()) continue;
      kernel.location.image_delta = marks.banner.value - (extent.begin + at).value;
      if (find_page_tables(memory, marks, kernel.location)) return true;
    }
  }
  return false;
}

/// Sets the place of the BTF blob, which lies between two symbols.
void locate_btf(const std::vector<Symbol>& symbols, KernelLocation& location) {
  const auto begin = find(symbols, "__start_BTF"), end = find(symbols, "__stop_BTF");
  location.btf_size = 0;
  if (!begin || !end || *begin >= *end || end->value - begin->value > kMaxBtfBytes) return;
  location.btf = Gpa{begin->value - location.image_delta};
  location.btf_size = static_cast<std::uint32_t>(end->value - begin->value);
}

/// A copy of the memory around a mark, as far as the extent goes.
struct Window {
  Gpa begin;  ///< 8-aligned
  std::size_t mark = 0;
  std::vector<std::byte> bytes;

  static std::optional<Window> read(const PhysicalMemory& memory, PhysicalExtent extent, Gpa mark,
                                    std::uint64_t reach) {
    Window window;
    const std::uint64_t before = mark.value - extent.begin.value;
    window.begin = Gpa{(mark.value - std::min(before, reach) + 7) & ~7ull};
    if (window.begin > mark) return std::nullopt;
    window.mark = mark.value - window.begin.value;
    window.bytes.resize(window.mark + std::min(extent.size - before, reach - 8));
    return memory.read(window.begin, window.bytes) ? std::optional{std::move(window)}
                                                   : std::nullopt;
  }
};

/// A copy of the tables around a mark.
struct Candidate {
  KallsymsTables tables;
  std::vector<std::byte> bytes;
};

std::optional<Candidate> tables_near(const PhysicalMemory& memory, PhysicalExtent extent, Gpa mark,
                                     KallsymsBudget& budget) {
  const auto tokens = Window::read(memory, extent, mark, kTokenReach);
  if (!tokens || !is_token_table(tokens->bytes, tokens->mark)) return std::nullopt;
  if (!budget.take(kTableReach / 32)) return std::nullopt;
  const auto window = Window::read(memory, extent, mark, kTableReach);
  auto tables = window ? find_tables(window->bytes, window->mark, budget) : std::nullopt;
  if (!tables) return std::nullopt;
  const auto from = window->bytes.begin() + static_cast<std::ptrdiff_t>(tables->begin.value);
  Candidate candidate{.tables = *tables, .bytes = {from, from + tables->size}};
  candidate.tables.begin = window->begin + tables->begin.value;
  return candidate;
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

/// Finds a kernel whose symbol tables and image lie in these extents.
Result<FoundKernel> find_in(const PhysicalMemory& memory,
                            const std::vector<PhysicalExtent>& extents) {
  FoundKernel kernel;
  KallsymsBudget budget;
  bool found = false, saw_symbols = false;
  const auto try_mark = [&](PhysicalExtent extent, Gpa mark) {
    const auto candidate = tables_near(memory, extent, mark, budget);
    if (!candidate) return;
    auto symbols = decode_symbols(candidate->bytes, candidate->tables);
    const auto landmarks = symbols ? Landmarks::of(*symbols) : std::nullopt;
    if (!landmarks) return;
    saw_symbols = true;
    kernel.location.kallsyms = candidate->tables;
    found = find_image(memory, extents, *landmarks, kernel);
    if (!found) return;
    kernel.symbols = std::move(*symbols);
    locate_btf(kernel.symbols, kernel.location);
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

}  // namespace

Result<FoundKernel> find_kernel(const PhysicalMemory& memory, std::optional<AddressSpace> running) {
  if (!running) return find_in(memory, memory.populated());
  auto found = find_in(memory, image_extents(memory, *running));
  // Under page-table isolation the tables of user mode map next to nothing of the kernel.
  running->root.value &= ~kPtiUserBit;
  return found ? std::move(found) : find_in(memory, image_extents(memory, *running));
}

Result<FoundKernel> open_kernel(const PhysicalMemory& memory, const KernelLocation& location) {
  const KallsymsTables& tables = location.kallsyms;
  std::vector<std::byte> copy(std::min(tables.size, kMaxKallsymsBytes));
  if (!memory.read(tables.begin, copy))
    return fail(ErrorCode::guest_fault, "the kernel's symbol tables are outside the guest's RAM");
  auto symbols = decode_symbols(copy, tables);
  if (!symbols) return std::unexpected(symbols.error());
  const auto landmarks = Landmarks::of(*symbols);
  FoundKernel kernel{.location = location, .symbols = std::move(*symbols), .banner = {}};
  if (landmarks)
    kernel.banner = read_banner(memory, Gpa{landmarks->banner.value - location.image_delta});
  if (kernel.banner.empty() || !find_page_tables(memory, *landmarks, kernel.location))
    return with_remedy(fail(ErrorCode::not_found, "the kernel is not where it was before"),
                       "the guest was rebooted since: search its memory again");
  locate_btf(kernel.symbols, kernel.location);
  return kernel;
}

}  // namespace glasshook::linux_guest
