#include "guest/windows/unwind.h"

#include <algorithm>

#include "guest/windows/limits.h"

namespace glasshook::windows {
namespace {

std::optional<Extent> extent_of(const std::optional<RuntimeFunction>& function) {
  if (!function || function->end <= function->begin) return std::nullopt;
  return Extent{function->begin, function->end};
}

}  // namespace

UnwindTable::UnwindTable(Extent directory)
    : table_(directory.begin),
      count_(std::min<std::uint64_t>((directory.end - directory.begin) / sizeof(RuntimeFunction),
                                     kMaxUnwindEntries)) {}

std::optional<RuntimeFunction> UnwindTable::load(const Image& image, std::uint64_t index) const {
  if (index >= count_) return std::nullopt;
  return image.read_value<RuntimeFunction>(table_ + index * sizeof(RuntimeFunction));
}

std::optional<Extent> UnwindTable::entry(const Image& image, std::uint64_t index) const {
  return extent_of(load(image, index));
}

std::optional<std::uint64_t> UnwindTable::rank(const Image& image, std::uint64_t rva) const {
  std::uint64_t low = 0, high = count_;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto probed = load(image, middle);
    if (!probed) return std::nullopt;
    if (probed->begin <= rva)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

std::optional<Extent> UnwindTable::part_at(const Image& image, std::uint64_t rva) const {
  const auto at = rank(image, rva);
  const std::optional<Extent> found = at && *at > 0 ? entry(image, *at - 1) : std::nullopt;
  return found && found->contains(rva) ? found : std::nullopt;
}

std::optional<Extent> UnwindTable::next(const Image& image, std::uint64_t rva) const {
  const auto at = rank(image, rva);
  return at ? entry(image, *at) : std::nullopt;
}

std::optional<RuntimeFunction> UnwindTable::primary_of(const Image& image,
                                                       RuntimeFunction function) {
  for (int hop = 0; hop < kMaxChainedEntries; ++hop) {
    constexpr std::uint32_t kIndirect = 1;  // the field is the address of another entry
    std::uint64_t parent = function.unwind & ~kIndirect;
    if ((function.unwind & kIndirect) == 0) {
      const auto header = image.read_value<UnwindHeader>(function.unwind);
      if (!header) return std::nullopt;
      if ((header->version_and_flags >> 3 & kUnwindChained) == 0) return function;
      // Behind the codes, of which there is always an even number.
      const std::uint64_t codes = (std::uint64_t{header->code_count} + 1) / 2 * 2;
      parent = function.unwind + sizeof(UnwindHeader) + codes * sizeof(std::uint16_t);
    }
    const auto chained = image.read_value<RuntimeFunction>(parent);
    if (!chained) return std::nullopt;
    function = *chained;
  }
  return std::nullopt;
}

std::optional<Extent> UnwindTable::primary_at(const Image& image, std::uint64_t rva) const {
  const auto at = rank(image, rva);
  const auto function = at && *at > 0 ? load(image, *at - 1) : std::nullopt;
  if (!function || rva >= function->end) return std::nullopt;
  return extent_of(primary_of(image, *function));
}

std::vector<Extent> UnwindTable::parts_at(const Image& image, std::uint64_t rva) const {
  const std::optional<Extent> primary = primary_at(image, rva);
  if (!primary) return {};
  std::vector<Extent> parts{*primary};
  const auto behind = rank(image, primary->begin);
  for (std::uint64_t i = behind.value_or(count_); parts.size() < kMaxFunctionParts; ++i) {
    const auto function = load(image, i);
    const auto extent = extent_of(function);
    if (!extent || extent_of(primary_of(image, *function)) != primary) break;
    parts.push_back(*extent);
  }
  return parts;
}

}  // namespace glasshook::windows
