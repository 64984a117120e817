#include "monitor/elf_imports.h"

#include <fmt/format.h>

#include <memory>
#include <set>

#include "guest/linux/memory_map.h"
#include "guest/linux/path.h"
#include "memory/virtual_memory.h"
#include "monitor/cached_file.h"

namespace glasshook::monitor {

using linux_guest::MemoryArea;
using linux_guest::ProcessInfo;

ElfImports::ElfImports(const linux_guest::LinuxKernel& kernel) : kernel_(&kernel) {
  if (auto cache = linux_guest::PageCache::of(kernel)) cache_.emplace(*cache);
}

const std::optional<ElfImports::File>* ElfImports::file(Gva mapping, std::uint64_t inode) {
  const Key key{mapping, inode};
  const auto known = files_.find(key);
  if (known != files_.end() && (!known->second || known->second->module.exports_complete()))
    return &known->second;
  const auto source = std::make_shared<CachedFile>(*cache_, mapping);
  if (!source->has_page(0)) return nullptr;
  std::optional<File> parsed;
  if (auto module = elf::ElfModule::parse(source, elf::Layout::file)) {
    auto imports = module->imports();
    parsed.emplace(File{.module = std::move(*module), .imports = std::move(imports)});
  }
  return &files_.insert_or_assign(key, std::move(parsed)).first->second;
}

std::vector<elf::LoadedModule> ElfImports::modules_of(const ProcessInfo& process) {
  const auto areas = linux_guest::file_areas(*kernel_, process.mm);
  const auto mapping_of = [&](const MemoryArea& area) {
    return kernel_->pointer(area.file, kernel_->layout().file.mapping).value_or(Gva{});
  };
  std::set<Gva> code;
  for (const MemoryArea& area : areas.items)
    if (area.executable) code.insert(mapping_of(area));
  code.erase(Gva{});
  std::vector<elf::LoadedModule> modules;
  for (const MemoryArea& area : areas.items) {
    const Gva mapping = mapping_of(area);
    if (area.file_offset != 0 || !code.contains(mapping) || modules.size() >= kMaxModules) continue;
    const std::optional<File>* known = file(mapping, area.inode);
    // Of what cannot be read nobody knows what it exports.
    if (known == nullptr) return {};
    if (!*known) continue;
    modules.push_back({.name = linux_guest::file_path(*kernel_, area.file, process.root).text,
                       .bias = area.start.value - ((*known)->module.bounds().begin & ~kPageMask),
                       .module = &(*known)->module,
                       .imports = &(*known)->imports});
  }
  return modules;
}

std::vector<behaviour::ReplacedImport> ElfImports::replaced_in(const ProcessInfo& process) {
  if (!cache_ || process.mm.is_null()) return {};
  if (files_.size() >= kMaxFiles) files_.clear();
  const auto modules = modules_of(process);
  const VirtualMemory memory(kernel_->memory(), process.space);
  const auto is_vdso = [&](std::uint64_t address) {
    const auto area = linux_guest::area_at(*kernel_, process.mm, Gva{address});
    return area && area->special == "[vdso]";
  };
  const auto read = [&](std::uint64_t address, std::span<std::byte> out) {
    return !Gva{address}.is_kernel() && memory.read(Gva{address}, out);
  };
  std::vector<behaviour::ReplacedImport> replaced;
  for (const elf::ReplacedImport& import : elf::replaced_imports(modules, read, is_vdso))
    replaced.push_back(
        {.importer = import.importer,
         .function = import.function,
         .slot = import.slot,
         .address = import.target,
         .target = import.target_module.empty()
                       ? fmt::format("{:#x}", import.target)
                       : fmt::format("{}+{:#x}", import.target_module, import.target_offset)});
  return replaced;
}

}  // namespace glasshook::monitor
