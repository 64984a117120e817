#include "monitor/known_module.h"

#include <algorithm>

#include "base/text.h"
#include "guest/elf/elf_module.h"

namespace glasshook::monitor {

using hypervisor::HookId;
using hypervisor::PageSites;

void KnownModule::bring_up_to_date(const std::shared_ptr<GrowingFile>& file, const Wanted& wanted) {
  const auto is_there = [&](std::uint64_t index) { return file->has_page(index); };
  if (!looked_at_ || std::ranges::any_of(missing_, is_there)) make_plan(file, wanted);
}

const std::map<std::uint64_t, PageSites>* KnownModule::all_sites(
    const std::shared_ptr<GrowingFile>& file, const Wanted& wanted) {
  bring_up_to_date(file, wanted);
  return plan_ ? &plan_->sites().pages() : nullptr;
}

PageSites KnownModule::sites(std::uint64_t file_page, const std::shared_ptr<GrowingFile>& file,
                             const Wanted& wanted) {
  bring_up_to_date(file, wanted);
  PageSites sites;
  if (!plan_) {
    sites.ask_again = !missing_.empty();
    return sites;
  }
  if (const PageSites* known = plan_->page(file_page)) sites = *known;
  sites.ask_again = !missing_.empty() && plan_->is_unfinished(file_page);
  return sites;
}

void KnownModule::make_plan(const std::shared_ptr<GrowingFile>& file, const Wanted& wanted) {
  looked_at_ = true;
  plan_.reset();
  const auto module = elf::ElfModule::parse(file, elf::Layout::file);
  if (module) {
    soname_ = module->soname();
    const auto maker = [&](const hook::ModuleFunction& function) -> std::optional<HookId> {
      auto [at, end] = std::ranges::equal_range(
          hooks_, function.address, {}, [](const MadeHook& made) { return made.function.address; });
      for (auto made = at; made != end; ++made)
        if (made->function == function) return made->id;
      const auto id = wanted.make_hook(function);
      if (id) hooks_.insert(end, {.function = function, .id = *id});
      return id;
    };
    plan_ = hook::ModulePlan::make(*module, path_, wanted.selection, wanted.catalogue, maker);
  }
  missing_ = file->missing();
}

void KnownModule::replan(const hook::Selection& selection, const api::ApiCatalogue& catalogue,
                         std::vector<HookId>& dropped) {
  looked_at_ = false;
  plan_.reset();
  missing_.clear();
  std::erase_if(hooks_, [&](const MadeHook& made) {
    if (is_wanted(made.function, selection, catalogue)) return false;
    dropped.push_back(made.id);
    return true;
  });
}

bool KnownModule::is_wanted(const hook::ModuleFunction& function, const hook::Selection& selection,
                            const api::ApiCatalogue& catalogue) const {
  if (function.signature != nullptr)
    return std::ranges::any_of(selection.apis, [&](const hook::SelectedApi& api) {
      return api.signature == function.signature && api.options == function.options &&
             api.audience == function.audience;
    });
  return std::ranges::any_of(selection.exports, [&](const hook::SelectedExport& selected) {
    return selected.options == function.options && selected.audience == function.audience &&
           glob_match(selected.function, function.name) &&
           hook::names_module(selected, path_, soname_, catalogue);
  });
}

}  // namespace glasshook::monitor
