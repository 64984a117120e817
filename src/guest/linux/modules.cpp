#include "guest/linux/modules.h"

#include <elf.h>

#include <algorithm>
#include <set>
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
    const std::uint32_t size = kernel.read<std::uint32_t>(entry, l.mem_size).value_or(0);
    if (i == 0) info.base = kernel.pointer(entry, l.mem_base).value_or(Gva{});
    if (i == 0) info.code_size = size;
    info.size += size;
  }
}

ModuleInfo read_module(const LinuxKernel& kernel, Gva module) {
  const auto& l = kernel.layout().module;
  ModuleInfo info{.address = module, .name = {}, .base = {}};
  info.name = kernel.text(module + l.name.bytes(), l.name_size);
  info.references =
      std::int64_t{kernel.read<std::int32_t>(module, l.refcnt).value_or(0)} - kOwnReference;
  info.live = kernel.read<std::uint32_t>(module, l.state) == 0u;  // MODULE_STATE_LIVE
  if (l.mem.present()) {
    read_sections(kernel, info);
  } else {
    info.base = kernel.pointer(module, l.core_base).value_or(Gva{});
    info.size = kernel.read<std::uint32_t>(module, l.core_size).value_or(0);
    info.code_size = kernel.read<std::uint32_t>(module, l.core_code_size).value_or(0);
  }
  return info;
}

/// Appends the symbols of a module, looking at no more than `limit` entries of its table. Returns
/// how many it looked at.
std::size_t append_symbols(const LinuxKernel& kernel, Gva module, std::size_t limit,
                           std::vector<Symbol>& symbols) {
  const auto& l = kernel.layout().mod_kallsyms;
  const auto tables = kernel.pointer(module, kernel.layout().module.kallsyms);
  if (!tables || tables->is_null()) return 0;
  const auto symtab = kernel.pointer(*tables, l.symtab);
  const auto strtab = kernel.pointer(*tables, l.strtab);
  const auto typetab = kernel.pointer(*tables, l.typetab);
  const auto count = kernel.read<std::uint32_t>(*tables, l.count);
  if (!symtab || !strtab || !typetab || !count) return 0;
  std::vector<Elf64_Sym> entries(std::min<std::size_t>(*count, limit));
  std::vector<char> kinds(entries.size());
  const VirtualMemory memory = kernel.virtual_memory();
  if (!memory.read(*symtab, std::as_writable_bytes(std::span{entries})) ||
      !memory.read(*typetab, std::as_writable_bytes(std::span{kinds})))
    return 0;
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].st_shndx == SHN_UNDEF || !Gva{entries[i].st_value}.is_kernel()) continue;
    std::string name = kernel.text(*strtab + entries[i].st_name, kMaxSymbolName);
    if (!name.empty())
      symbols.push_back(
          {.address = {entries[i].st_value}, .type = kinds[i], .name = std::move(name)});
  }
  return entries.size();
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

Listing<ModuleInfo> modules_by_address(const LinuxKernel& kernel) {
  Listing<ModuleInfo> listing;
  const auto& l = kernel.layout().mod_tree;
  const auto tree = kernel.symbol("mod_tree");
  const auto root = tree ? kernel.pointer(*tree, l.root) : std::nullopt;
  if (!root || !l.node.present() || !l.module.present()) return listing;
  auto walk = walk_tree(kernel, *root, l.node, kMaxModules);
  listing.incomplete = std::move(walk.incomplete);
  std::set<Gva> seen;
  for (const Gva node : walk.items) {
    const auto module = kernel.pointer(node, l.module);
    if (!module || module->is_null() || !seen.insert(*module).second) continue;
    if (auto info = module_at(kernel, *module)) listing.items.push_back(std::move(*info));
  }
  return listing;
}

std::optional<ModuleInfo> module_at(const LinuxKernel& kernel, Gva module) {
  const auto& l = kernel.layout().module;
  if (!l.name.present() || !kernel.read<std::uint8_t>(module, l.name)) return std::nullopt;
  return read_module(kernel, module);
}

std::vector<Symbol> module_symbols(const LinuxKernel& kernel, Gva module) {
  std::vector<Symbol> symbols;
  (void)append_symbols(kernel, module, kMaxModuleSymbols, symbols);
  return symbols;
}

Result<KernelSymbols> symbols_with_modules(const LinuxKernel& kernel) {
  const auto loaded = modules(kernel);
  if (!loaded) return std::unexpected(loaded.error());
  const auto core = kernel.core_symbols();
  std::vector<Symbol> all{core.begin(), core.end()};
  std::size_t left = kMaxAllSymbols;
  for (const ModuleInfo& module : loaded->items)
    left -=
        append_symbols(kernel, module.address, std::min<std::size_t>(left, kMaxModuleSymbols), all);
  if (left == 0)
    return fail(ErrorCode::limit, "the modules have more than {} symbols", kMaxAllSymbols);
  // A module names nothing of the core kernel.
  const auto own = all.begin() + static_cast<std::ptrdiff_t>(core.size());
  const auto foreign = [&](const Symbol& symbol) {
    return !core.empty() && symbol.address <= core.back().address;
  };
  all.erase(std::remove_if(own, all.end(), foreign), all.end());
  std::ranges::stable_sort(all.begin() + static_cast<std::ptrdiff_t>(core.size()), all.end(), {},
                           &Symbol::address);
  return KernelSymbols{std::move(all)};
}

}  // namespace glasshook::linux_guest
