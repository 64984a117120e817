#include "guest/linux/modules.h"

#include <elf.h>

#include <algorithm>
#include <utility>

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxModules = 4096;
constexpr std::uint32_t kMaxModuleSymbols = 65536;
constexpr std::size_t kMaxSymbolName = 512;
constexpr std::size_t kMaxAllSymbols = 1u << 20;
constexpr std::uint32_t kMaxSections = 32;
/// A module holds one reference to itself while it is loaded (MODULE_REF_BASE).
constexpr std::int32_t kOwnReference = 1;

/// Base and size since 6.4: one range for each kind of section, code first.
void read_sections(const LinuxKernel& kernel, ModuleInfo& info) {
  const auto& l = kernel.layout().module;
  const std::uint32_t count = std::min(l.mem_count, kMaxSections);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Gva entry = info.address + l.mem.bytes() + std::uint64_t{i} * l.mem_entry;
    if (i == 0) info.base = kernel.pointer(entry, l.mem_base).value_or(Gva{});
    info.size += kernel.read<std::uint32_t>(entry, l.mem_size).value_or(0);
  }
}

ModuleInfo read_module(const LinuxKernel& kernel, Gva module) {
  const auto& l = kernel.layout().module;
  ModuleInfo info{.address = module, .name = {}, .base = {}};
  info.name = kernel.text(module + l.name.bytes(), l.name_size);
  info.references = kernel.read<std::int32_t>(module, l.refcnt).value_or(0) - kOwnReference;
  info.live = kernel.read<std::uint32_t>(module, l.state) == 0u;  // MODULE_STATE_LIVE
  if (l.mem.present()) {
    read_sections(kernel, info);
  } else {
    info.base = kernel.pointer(module, l.core_base).value_or(Gva{});
    info.size = kernel.read<std::uint32_t>(module, l.core_size).value_or(0);
  }
  return info;
}

}  // namespace

Result<Listing<ModuleInfo>> modules(const LinuxKernel& kernel) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const auto head = kernel.symbol("modules");
  if (!head) return fail(ErrorCode::not_found, "the kernel has no list of modules");
  auto walk = walk_list(kernel, *head, kernel.layout().module.list, kMaxModules);
  Listing<ModuleInfo> listing{.items = {}, .incomplete = std::move(walk.incomplete)};
  for (const Gva module : walk.items) listing.items.push_back(read_module(kernel, module));
  return listing;
}

std::vector<Symbol> module_symbols(const LinuxKernel& kernel, Gva module) {
  const auto& l = kernel.layout().mod_kallsyms;
  std::vector<Symbol> symbols;
  const auto tables = kernel.pointer(module, kernel.layout().module.kallsyms);
  if (!tables || tables->is_null()) return symbols;
  const auto symtab = kernel.pointer(*tables, l.symtab);
  const auto strtab = kernel.pointer(*tables, l.strtab);
  const auto typetab = kernel.pointer(*tables, l.typetab);
  const auto count = kernel.read<std::uint32_t>(*tables, l.count);
  if (!symtab || !strtab || !typetab || !count) return symbols;
  std::vector<Elf64_Sym> entries(std::min(*count, kMaxModuleSymbols));
  std::vector<char> kinds(entries.size());
  const VirtualMemory memory = kernel.virtual_memory();
  if (!memory.read(*symtab, std::as_writable_bytes(std::span{entries})) ||
      !memory.read(*typetab, std::as_writable_bytes(std::span{kinds})))
    return symbols;
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].st_shndx == SHN_UNDEF || !Gva{entries[i].st_value}.is_kernel()) continue;
    std::string name = kernel.text(*strtab + entries[i].st_name, kMaxSymbolName);
    if (!name.empty())
      symbols.push_back(
          {.address = {entries[i].st_value}, .type = kinds[i], .name = std::move(name)});
  }
  return symbols;
}

Result<KernelSymbols> symbols_with_modules(const LinuxKernel& kernel) {
  const auto loaded = modules(kernel);
  if (!loaded) return std::unexpected(loaded.error());
  const auto core = kernel.core_symbols();
  std::vector<Symbol> all{core.begin(), core.end()};
  for (const ModuleInfo& module : loaded->items) {
    for (Symbol& symbol : module_symbols(kernel, module.address))
      if (core.empty() || symbol.address > core.back().address) all.push_back(std::move(symbol));
    if (all.size() > core.size() + kMaxAllSymbols)
      return fail(ErrorCode::limit, "the modules have more than {} symbols", kMaxAllSymbols);
  }
  std::ranges::stable_sort(all.begin() + static_cast<std::ptrdiff_t>(core.size()), all.end(), {},
                           &Symbol::address);
  return KernelSymbols{std::move(all)};
}

}  // namespace glasshook::linux_guest
