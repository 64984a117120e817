#include "monitor/family_apis.h"

#include <fmt/format.h>

#include <algorithm>

namespace glasshook::monitor {

std::vector<std::string> FamilyApis::add(behaviour::Family& family, const api::GuestApis& apis) {
  std::vector<std::string> missing;
  for (const behaviour::WantedApi& wanted : family.apis()) {
    const auto selector = hook::parse_selector(wanted.selector);
    const auto found = selector ? hook::resolve(std::span{&*selector, 1}, apis, nullptr)
                                : Result<hook::Selection>(std::unexpected(selector.error()));
    const bool is_export = found && found->apis.empty() && wanted.without_signature;
    if (!found || (found->apis.empty() && !is_export)) {
      missing.push_back(fmt::format("{} ({}): {}", wanted.selector, family.name(),
                                    found ? "it has no signature" : found.error().message));
      continue;
    }
    for (const hook::SelectedApi& api : found->apis)
      subscribe(subscribers_[api.signature], family, wanted.at_entry);
    if (is_export) subscribe(exports_[wanted.selector], family, wanted.at_entry);
    hook::add_to(selection_,
                 {.apis = found->apis,
                  .exports = is_export ? found->exports : std::vector<hook::SelectedExport>{},
                  .kernel = {},
                  .notes = {}});
  }
  return missing;
}

void FamilyApis::subscribe(Subscribers& subscribers, behaviour::Family& family, bool at_entry) {
  const auto known = std::ranges::find(subscribers, &family, &Subscriber::family);
  if (known == subscribers.end())
    subscribers.push_back({&family, at_entry});
  else
    known->at_entry |= at_entry;
}

const FamilyApis::Subscribers* FamilyApis::subscribers_of(const api::Signature& wanted) const {
  if (const auto found = subscribers_.find(&wanted); found != subscribers_.end())
    return &found->second;
  if (exports_.empty()) return nullptr;
  const auto found = exports_.find(wanted.module + "!" + wanted.name);
  return found == exports_.end() ? nullptr : &found->second;
}

bool FamilyApis::at_entry(const api::Signature* wanted) const {
  const Subscribers* subscribers = wanted == nullptr ? nullptr : subscribers_of(*wanted);
  return subscribers != nullptr && std::ranges::any_of(*subscribers, &Subscriber::at_entry);
}

void FamilyApis::tell(const behaviour::UserCall& call, bool is_entry,
                      behaviour::Context& context) const {
  const Subscribers* subscribers = subscribers_of(call.as);
  if (subscribers == nullptr) return;
  for (const Subscriber& subscriber : *subscribers) {
    if (!is_entry)
      subscriber.family->on_user_call(call, context);
    else if (subscriber.at_entry)
      subscriber.family->on_user_call_entered(call, context);
  }
}

}  // namespace glasshook::monitor
