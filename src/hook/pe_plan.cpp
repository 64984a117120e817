#include "hook/pe_plan.h"

#include <charconv>

#include "base/text.h"

namespace glasshook::hook {
namespace {

using windows::Export;
using windows::Extent;
using windows::PeModule;

bool is_glob(std::string_view text) { return text.find_first_of("*?") != text.npos; }

/// The number in "#12".
std::optional<std::uint32_t> ordinal_of(std::string_view function) {
  std::uint32_t ordinal = 0;
  if (!function.starts_with('#')) return std::nullopt;
  const char* end = function.data() + function.size();
  const auto [stop, error] = std::from_chars(function.data() + 1, end, ordinal);
  return error == std::errc{} && stop == end ? std::optional{ordinal} : std::nullopt;
}

std::string name_of(const Export& entry) {
  return entry.name.empty() ? fmt::format("#{}", entry.ordinal) : entry.name;
}

}  // namespace

/// One update of a plan.
class PePlanner {
 public:
  PePlanner(const PeModule& module, PePlan& plan, PeSelection& selection, const HookMaker& maker)
      : module_(module),
        code_(windows::code_of(module)),
        plan_(plan),
        selection_(selection),
        maker_(maker) {}

  std::set<std::uint64_t> run() {
    // The selection may grow meanwhile, also by this module's own exports.
    while (plan_.seen_ < selection_.size()) {
      const WantedExport& item = selection_.item(plan_.seen_++);
      if (glob_match(item.module, plan_.stem_)) add_item(item);
    }
    return std::move(changed_);
  }

 private:
  void add_item(const WantedExport& item) {
    if (is_glob(item.function)) {
      for (const Export& entry : module_.exports().all())
        if (!entry.name.empty() && glob_match(item.function, entry.name)) add_export(item, entry);
      return;
    }
    const auto ordinal = ordinal_of(item.function);
    const Export* found =
        ordinal ? module_.exports().find(*ordinal) : module_.exports().find(item.function);
    if (found != nullptr) return add_export(item, *found);
    // A signature may be of any of several modules; a user's own name is of this one.
    const bool is_own = item.signature == nullptr && !is_glob(item.module);
    if (is_own && module_.incomplete().empty()) note(item.function, "it is not exported");
  }

  void add_export(const WantedExport& item, const Export& entry) {
    if (const auto target = module_.target_of(entry)) {
      follow(item, entry, *target, item.returns_only);
    } else if (!module_.is_code(entry.rva)) {
      if (!is_glob(item.function)) note(name_of(entry), "it is data");
    } else if (item.returns_only) {
      add_returns(item, entry);
    } else {
      add_function(item, entry);
    }
  }

  void follow(const WantedExport& item, const Export& entry, const windows::ExportName& target,
              bool returns_only) {
    if (!selection_.follow(item, plan_.stem_, entry, target, returns_only))
      note(name_of(entry), "it is forwarded too often");
  }

  void add_function(const WantedExport& item, const Export& entry) {
    const auto planned = plan_.planned_.find(entry.rva);
    if (planned == plan_.planned_.end()) return add_hook(item, entry);
    auto& [hook, audience] = planned->second;
    const bool is_new =
        (item.audience.user && !audience.user) || (item.audience.families && !audience.families);
    if (!is_new) return;
    audience.user |= item.audience.user;
    audience.families |= item.audience.families;
    ModuleFunction function = function_of(item, entry);
    function.also = hook;
    (void)maker_(function);
  }

  void add_hook(const WantedExport& item, const Export& entry) {
    if (plan_.planned_.size() == ModulePlan::kMaxFunctions) {
      note(name_of(entry), "the module has too many hooks");
      return;
    }
    const ModuleFunction function = function_of(item, entry);
    const std::optional<hypervisor::HookId> hook = maker_(function);
    if (!hook) return;
    plan_.planned_[entry.rva] = {*hook, item.audience};
    plan_.sites_.add_entry(entry.rva, *hook);
    changed_.insert(entry.rva / kPageSize);
    const bool returns =
        item.options.returns && (!function.signature || function.signature->returns);
    if (returns) add_returns(item, entry);
  }

  [[nodiscard]] ModuleFunction function_of(const WantedExport& item, const Export& entry) const {
    // A function that was found here by itself may be described under its own name.
    const bool is_own = item.signature == nullptr && item.hops == 0;
    return {.signature = is_own ? selection_.describe(plan_.stem_, entry) : item.signature,
            .module = item.shown_module.empty() ? plan_.stem_ : item.shown_module,
            .name = item.shown_name.empty() ? name_of(entry) : item.shown_name,
            .address = entry.rva,
            .options = item.options,
            .errno_slot_delta = {},
            .errno_offset = {},
            .audience = item.audience};
  }

  /// Watches everywhere a call of the function may end: its own parts, functions it jumps to, and
  /// those of other modules that it jumps to through an import.
  void add_returns(const WantedExport& item, const Export& entry) {
    if (!plan_.watched_.insert(entry.rva).second) return;
    const elf::ReturnExtents found = elf::find_return_extents(code_, entry.rva);
    for (const Extent& range : found.ranges) watch(range);
    for (const Extent& part : module_.unwind_table().parts_at(module_.image(), entry.rva))
      watch(part);
    std::uint32_t unresolved = found.unresolved_tail_calls;
    for (const std::uint64_t slot : found.tail_call_slots) {
      const auto target = module_.import_at(slot);
      if (!target) continue;
      --unresolved;
      follow(item, entry, *target, true);
    }
    if (found.ranges.empty())
      note(name_of(entry), "it is unknown where it ends");
    else if (found.incomplete || unresolved > 0)
      note(name_of(entry), "not every return may be seen");
  }

  void watch(const Extent& range) {
    const bool inside = module_.is_code(range.begin) && module_.is_code(range.end - 1);
    if (range.end <= range.begin || !inside) return;
    plan_.sites_.add_returns(range.begin, range.end);
    for (std::uint64_t page = range.begin / kPageSize; page * kPageSize < range.end; ++page)
      changed_.insert(page);
  }

  void note(std::string_view name, std::string_view what) {
    constexpr std::size_t kMaxNotes = 1024;
    if (plan_.notes_.size() < kMaxNotes)
      plan_.notes_.push_back(fmt::format("{}!{}: {}", plan_.stem_, name, what));
  }

  const PeModule& module_;
  elf::CodeView code_;
  PePlan& plan_;
  PeSelection& selection_;
  const HookMaker& maker_;
  std::set<std::uint64_t> changed_;
};

std::set<std::uint64_t> PePlan::update(const PeModule& module, PeSelection& selection,
                                       const HookMaker& maker) {
  return PePlanner(module, *this, selection, maker).run();
}

}  // namespace glasshook::hook
