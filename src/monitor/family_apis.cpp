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
    if (!found || found->apis.empty()) {
      missing.push_back(fmt::format("{} ({}): {}", wanted.selector, family.name(),
                                    found ? "it has no signature" : found.error().message));
      continue;
    }
    for (const hook::SelectedApi& api : found->apis) {
      auto& subscribers = subscribers_[api.signature];
      const auto known = std::ranges::find(subscribers, &family, &Subscriber::family);
      if (known == subscribers.end())
        subscribers.push_back({&family, wanted.at_entry});
      else
        known->at_entry |= wanted.at_entry;
    }
    hook::add_to(selection_, {.apis = found->apis, .exports = {}, .kernel = {}, .notes = {}});
  }
  return missing;
}

bool FamilyApis::at_entry(const api::Signature* wanted) const {
  const auto found = subscribers_.find(wanted);
  return found != subscribers_.end() && std::ranges::any_of(found->second, &Subscriber::at_entry);
}

void FamilyApis::tell(const behaviour::UserCall& call, bool is_entry,
                      behaviour::Context& context) const {
  const auto found = subscribers_.find(&call.as);
  if (found == subscribers_.end()) return;
  for (const Subscriber& subscriber : found->second) {
    if (!is_entry)
      subscriber.family->on_user_call(call, context);
    else if (subscriber.at_entry)
      subscriber.family->on_user_call_entered(call, context);
  }
}

}  // namespace glasshook::monitor
