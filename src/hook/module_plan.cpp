#include "hook/module_plan.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "guest/elf/errno_location.h"
#include "guest/elf/function_extents.h"

namespace glasshook::hook {
namespace {

using elf::ElfModule;
using elf::Extent;

/// Address to file offset, for code that the file holds.
std::optional<std::uint64_t> file_offset(const ElfModule& module, std::uint64_t address) {
  for (const elf::Segment& segment : module.segments()) {
    const std::uint64_t offset = address - segment.address;
    if (segment.executable && address >= segment.address && offset < segment.file_size)
      return segment.file_offset + offset;
  }
  return std::nullopt;
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// Wine keeps the Unix half of `ntdll.dll` as `x86_64-unix/ntdll.so`, which exports the same names
/// for calls that the DLL has passed on already. They are not what `ntdll!NtClose` names.
bool is_unix_half(std::string_view path) {
  const std::string_view folder = path.substr(0, path.rfind('/'));
  return folder.ends_with("-unix");
}

}  // namespace

const api::Module* module_named(const api::ApiCatalogue& catalogue, std::string_view file_name,
                                std::string_view soname) {
  if (is_unix_half(file_name)) return nullptr;
  const api::Module* known = catalogue.module_of(file_name);
  return known == nullptr && !soname.empty() ? catalogue.module_of(soname) : known;
}

bool names_module(const SelectedExport& selected, std::string_view file_name,
                  std::string_view soname, const api::ApiCatalogue& catalogue) {
  if (is_unix_half(file_name)) return glob_match(selected.given, base_name(file_name));
  const api::Module* known = module_named(catalogue, file_name, soname);
  return glob_match(selected.module, api::module_stem(file_name)) ||
         (known != nullptr && glob_match(selected.module, known->name));
}

/// Fills a plan.
class ModulePlanner {
 public:
  ModulePlanner(const ElfModule& module, std::string_view file_name, const HookMaker& maker,
                ModulePlan& plan)
      : module_(module),
        is_unix_half_(is_unix_half(file_name)),
        name_(is_unix_half_ ? base_name(file_name) : api::module_stem(file_name)),
        code_(elf::code_of(module)),
        misses_(module.misses()),
        errno_(elf::find_errno(module)),
        misses_errno_(!errno_ && module.misses() != misses_),
        maker_(maker),
        plan_(plan) {}

  /// Every version of a name: old programs call old versions.
  void add_api(const SelectedApi& api) {
    const std::string_view name = api.signature->name;
    for (const elf::Symbol& symbol :
         std::ranges::equal_range(module_.exports().symbols(), name, {}, &elf::Symbol::name))
      add_symbol(symbol, api.signature, api.options, api.audience);
  }

  void add_exports(const SelectedExport& selected) {
    for (const elf::Symbol& symbol : module_.exports().symbols())
      if (glob_match(selected.function, symbol.name))
        add_symbol(symbol, nullptr, selected.options, selected.audience);
  }

 private:
  void add_symbol(const elf::Symbol& symbol, const api::Signature* signature,
                  const WatchOptions& options, Audience audience) {
    if (symbol.kind == elf::SymbolKind::function) {
      add_function(symbol.name, symbol.value, signature, options, audience);
    } else if (symbol.kind == elf::SymbolKind::ifunc) {
      // The loader picks one of these; calls land in whichever it was.
      misses_ = module_.misses();
      const std::vector<std::uint64_t> candidates = elf::ifunc_candidates(code_, symbol.value);
      plan_.unfinished_everywhere_ |= module_.misses() != misses_;
      for (const std::uint64_t address : candidates)
        add_function(symbol.name, address, signature, options, audience);
      if (candidates.empty())
        plan_.notes_.push_back(fmt::format("{}: its implementations were not found", symbol.name));
    }
  }

  void add_function(std::string_view name, std::uint64_t address, const api::Signature* signature,
                    const WatchOptions& options, Audience audience) {
    const auto offset = file_offset(module_, address);
    if (!offset || planned_.contains(address)) return;
    if (planned_.size() == ModulePlan::kMaxFunctions) {
      if (!full_) plan_.notes_.push_back(fmt::format("more than {} functions", planned_.size()));
      full_ = true;
      return;
    }
    planned_.insert(address);
    misses_ = module_.misses();
    ModuleFunction function{.signature = signature,
                            .module = std::string(name_),
                            .name = std::string(name),
                            .address = address,
                            .options = options,
                            .errno_slot_delta = {},
                            .errno_offset = {},
                            .audience = audience,
                            .is_unix_half = is_unix_half_};
    if (errno_ && errno_->slot)
      function.errno_slot_delta = static_cast<std::int64_t>(*errno_->slot - address);
    else if (errno_)
      function.errno_offset = errno_->offset;
    const std::optional<hypervisor::HookId> hook = maker_(function);
    if (!hook) return;
    plan_.sites_.add_entry(*offset, *hook);
    if (misses_errno_) plan_.unfinished_.insert(*offset / kPageSize);
    const bool returns = options.returns && (signature == nullptr || signature->returns);
    if (returns) add_returns(function, *offset);
  }

  void add_returns(const ModuleFunction& function, std::uint64_t entry) {
    const elf::ReturnExtents extents = elf::find_return_extents(code_, function.address);
    if (module_.misses() != misses_) plan_.unfinished_.insert(entry / kPageSize);
    for (const Extent& range : extents.ranges) {
      const auto begin = file_offset(module_, range.begin);
      if (begin && range.end > range.begin && file_offset(module_, range.end - 1))
        plan_.sites_.add_returns(*begin, *begin + (range.end - range.begin));
    }
    for (const std::uint64_t place : extents.places)
      if (const auto at = file_offset(module_, place)) plan_.sites_.add_return_place(*at);
    if (extents.ranges.empty())
      plan_.notes_.push_back(fmt::format("{}: it is unknown where it ends", function.name));
    else if (extents.incomplete || extents.unresolved_tail_calls > 0)
      plan_.notes_.push_back(fmt::format("{}: not every return may be seen", function.name));
  }

  const ElfModule& module_;
  bool is_unix_half_;
  std::string_view name_;  ///< as shown
  elf::CodeView code_;
  std::uint64_t misses_;  ///< before what is looked at now
  std::optional<elf::ErrnoLocation> errno_;
  bool misses_errno_;
  const HookMaker& maker_;
  ModulePlan& plan_;
  std::set<std::uint64_t> planned_;
  bool full_ = false;
};

ModulePlan ModulePlan::make(const ElfModule& module, std::string_view file_name,
                            const Selection& selection, const api::ApiCatalogue& catalogue,
                            const HookMaker& maker) {
  ModulePlan plan;
  const api::Module* known = module_named(catalogue, file_name, module.soname());
  ModulePlanner planner(module, file_name, maker, plan);
  bool concerned = known == nullptr && !module.soname_known();
  for (const SelectedApi& api : selection.apis) {
    if (known == nullptr || api.windows || api.signature->module != known->name) continue;
    concerned = true;
    planner.add_api(api);
  }
  for (const SelectedExport& selected : selection.exports) {
    if (!names_module(selected, file_name, module.soname(), catalogue)) continue;
    concerned = true;
    planner.add_exports(selected);
  }
  plan.unfinished_everywhere_ |= concerned && !module.exports_complete();
  return plan;
}

}  // namespace glasshook::hook
