#include "hook/pe_selection.h"

#include <algorithm>

#include "base/text.h"

namespace glasshook::hook {

PeSelection::PeSelection(const Selection& selection, const api::ApiCatalogue* windows)
    : windows_(windows) {
  for (const SelectedApi& api : selection.apis) {
    if (!api.windows || windows == nullptr) continue;
    const auto module =
        std::ranges::find(windows->modules(), api.signature->module, &api::Module::name);
    if (module == windows->modules().end()) continue;
    for (const std::string& object : module->objects)
      add({.module = windows::module_stem(object),
           .function = api.signature->name,
           .signature = api.signature,
           .shown_module = api.signature->module,
           .shown_name = api.signature->name,
           .options = api.options,
           .audience = api.audience});
  }
  for (const SelectedExport& selected : selection.exports)
    add({.module = windows::module_stem(selected.given),
         .function = selected.function,
         .signature = nullptr,
         .shown_module = {},
         .shown_name = {},
         .options = selected.options});
}

bool PeSelection::names_module(std::string_view stem, std::size_t first) const {
  for (std::size_t i = first; i < items_.size(); ++i)
    if (glob_match(items_[i].module, stem)) return true;
  return false;
}

bool PeSelection::follow(const WantedExport& item, std::string_view stem,
                         const windows::Export& found, const windows::ExportName& target,
                         bool returns_only) {
  if (item.hops >= kMaxHops) return false;
  WantedExport next = item;
  next.module = target.module;
  next.function = target.name.empty() ? "#" + std::to_string(target.ordinal) : target.name;
  if (next.shown_module.empty()) next.shown_module = stem;
  if (next.shown_name.empty())
    next.shown_name = found.name.empty() ? "#" + std::to_string(found.ordinal) : found.name;
  next.returns_only |= returns_only;
  ++next.hops;
  return add(std::move(next));
}

bool PeSelection::add(WantedExport item) {
  const auto key =
      std::tuple(item.module, item.function, item.returns_only, item.audience.families);
  if (known_.contains(key)) return true;
  if (items_.size() >= kMaxItems) return false;
  known_.insert(key);
  items_.push_back(std::move(item));
  return true;
}

}  // namespace glasshook::hook
