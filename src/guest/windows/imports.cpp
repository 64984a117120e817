#include "guest/windows/imports.h"

#include <algorithm>

#include "guest/windows/limits.h"
#include "guest/windows/pe_format.h"

namespace glasshook::windows {

ImportTable ImportTable::read(const Image& image, Extent imports, Extent delay_imports) {
  ImportTable table;
  table.read_imports(image, imports);
  table.read_delay_imports(image, delay_imports);
  std::ranges::sort(table.modules_, {}, &Module::addresses);
  return table;
}

void ImportTable::read_imports(const Image& image, Extent directory) {
  for (std::uint64_t i = 0; directory.begin != 0 && i < kMaxImportedModules; ++i) {
    const auto d =
        image.read_value<ImportDescriptor>(directory.begin + i * sizeof(ImportDescriptor));
    if (!d || d->name == 0 || d->address_table == 0) return;
    // Old linkers leave the lookup table out; then only a file still has it, in the other's place.
    if (d->lookup_table != 0)
      modules_.push_back({d->address_table, d->lookup_table, d->name, false});
    else if (image.layout() == Layout::file)
      modules_.push_back({d->address_table, d->address_table, d->name, false});
  }
}

void ImportTable::read_delay_imports(const Image& image, Extent directory) {
  for (std::uint64_t i = 0; directory.begin != 0 && i < kMaxImportedModules; ++i) {
    const auto d = image.read_value<DelayImportDescriptor>(directory.begin +
                                                           i * sizeof(DelayImportDescriptor));
    if (!d || d->name == 0 || d->address_table == 0) return;
    constexpr std::uint32_t kAddressesAreRelative = 1;
    if ((d->attributes & kAddressesAreRelative) != 0 && d->lookup_table != 0)
      modules_.push_back({d->address_table, d->lookup_table, d->name, true});
  }
}

std::optional<ExportName> ImportTable::at(const Image& image, std::uint64_t rva) const {
  const auto behind = std::ranges::upper_bound(modules_, rva, {}, &Module::addresses);
  if (behind == modules_.begin()) return std::nullopt;
  return at(image, *(behind - 1), rva);
}

std::optional<ExportName> ImportTable::at(const Image& image, const Module& module,
                                          std::uint64_t rva) {
  const std::uint64_t offset = rva - module.addresses;
  if (offset % sizeof(std::uint64_t) != 0 || offset / sizeof(std::uint64_t) >= kMaxExports)
    return std::nullopt;
  const auto lookup = image.read_value<std::uint64_t>(module.lookups + offset);
  const auto name = image.read_string(module.name, kMaxNameBytes);
  if (!lookup || *lookup == 0 || !name || name->empty()) return std::nullopt;
  ExportName found{.module = module_stem(*name), .name = {}, .ordinal = 0};
  if ((*lookup & kImportByOrdinal) != 0) {
    found.ordinal = static_cast<std::uint16_t>(*lookup);
    return found;
  }
  constexpr std::uint64_t kHintBytes = 2;
  if (*lookup >= kMaxImageBytes) return std::nullopt;
  const auto function = image.read_string(*lookup + kHintBytes, kMaxNameBytes);
  if (!function || function->empty()) return std::nullopt;
  found.name = *function;
  return found;
}

}  // namespace glasshook::windows
