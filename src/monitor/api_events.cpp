#include "monitor/api_events.h"

#include <fmt/format.h>

namespace glasshook::monitor {

using behaviour::Event;

const std::vector<std::string>& ApiEvents::argument_names(const api::Signature& signature) {
  auto& names = names_[&signature];
  if (names.empty())
    for (const api::Parameter& parameter : signature.parameters)
      names.push_back("api.args." + parameter.name);
  return names;
}

Event ApiEvents::make(const TracedCall& traced) {
  const behaviour::UserCall& made = traced.call;
  const api::ApiCall& call = made.api;
  const api::Signature& shown = *traced.hook.shown;
  const auto& names = argument_names(*call.signature);
  constexpr std::size_t kOtherFields = 10;
  Event event;
  event.fields.reserve(names.size() + kOtherFields);
  event.action = "api_called";
  event.category = "api";
  event.time = made.began;
  event.process = made.process;
  event.thread_id = made.thread_id;
  event.fields.push_back({"api.module", shown.module});
  event.fields.push_back({"api.name", shown.name});
  event.fields.push_back({"api.depth", std::uint64_t{traced.shown_depth}});
  if (made.win32_process_id != 0) {
    event.fields.push_back({"glasshook.windows.process_id", std::uint64_t{made.win32_process_id}});
    event.fields.push_back({"glasshook.windows.thread_id", std::uint64_t{made.win32_thread_id}});
    event.fields.push_back({"glasshook.windows.caller", fmt::format("{:#x}", made.caller)});
  }
  for (std::size_t i = 0; i < call.arguments.size() && i < names.size(); ++i)
    if (call.arguments[i].relevant) event.fields.push_back({names[i], call.arguments[i].value});
  if (call.returned) {
    const auto duration = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(made.ended - made.began).count());
    event.fields.push_back({"api.result", call.result_value});
    event.fields.push_back({"event.duration", duration});
  }
  if (call.failed && !call.error_name.empty())
    event.fields.push_back({"api.error", call.error_name});
  if (!call.incomplete.empty()) event.fields.push_back({"api.incomplete", call.incomplete});
  return event;
}

}  // namespace glasshook::monitor
