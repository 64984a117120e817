#include "monitor/api_tracer.h"

#include <fmt/format.h>

#include <utility>

#include "api/from_btf.h"
#include "hook/spec.h"

namespace glasshook::monitor {

using behaviour::Event;

namespace {

std::uint64_t thread_key(const ApiTracer::Origin& origin) {
  const std::uint64_t start = origin.process ? origin.process->start_time : 0;
  return start * 0x9e3779b97f4a7c15 ^ origin.thread_id;
}

bool same_process(const ProcessPtr& a, const ProcessPtr& b) {
  return a == b || (a && b && a->entity_id == b->entity_id);
}

}  // namespace

const std::vector<std::string>& ApiTracer::argument_names(const api::Signature& signature) {
  // Event fields borrow their names, so they are kept for the tracer's life.
  auto& names = names_[&signature];
  if (names.empty())
    for (const api::Parameter& parameter : signature.parameters)
      names.push_back("api.args." + parameter.name);
  return names;
}

void ApiTracer::on_record(const Api& api, bool awaits_return, const capture::RecordView& record,
                          const Origin& origin) {
  if (record.header().kind == capture::RecordKind::entry) {
    if (awaits_return)
      remember(api, record, origin);
    else
      tell(api, &record, nullptr, origin, 0, {});
    return;
  }
  const auto found = by_call_.find(record.header().call);
  if ((record.header().flags & capture::kRecordGivenUp) != 0) {
    // An entry that was rate-limited is not known here.
    if (found != by_call_.end()) tell_unreturned(found->second);
    return;
  }
  // A frame can be abandoned and its place reused by another thread: that return is not this
  // call's.
  if (found == by_call_.end() || found->second->origin.thread_id != origin.thread_id ||
      !same_process(found->second->origin.process, origin.process)) {
    ++unjoined_;
    return;
  }
  const Pending& pending = *found->second;
  capture::RecordView entry;
  if (capture::RecordView::parse(pending.entry, entry))
    tell(pending.api, &entry, &record, pending.origin, pending.depth,
         origin.time - pending.origin.time);
  forget(found->second);
}

void ApiTracer::remember(const Api& api, const capture::RecordView& record, const Origin& origin) {
  if (pending_.size() >= kMaxPending) {
    ++unjoined_;
    tell_unreturned(pending_.begin());
  }
  const auto bytes = record.bytes();
  Pending pending{.call = record.header().call,
                  .api = api,
                  .entry = {bytes.begin(), bytes.end()},
                  .origin = origin,
                  .depth = depth_[thread_key(origin)]++};
  pending_.push_back(std::move(pending));
  by_call_[record.header().call] = std::prev(pending_.end());
}

void ApiTracer::forget(PendingList::iterator pending) {
  const auto depth = depth_.find(thread_key(pending->origin));
  if (depth != depth_.end() && --depth->second == 0) depth_.erase(depth);
  by_call_.erase(pending->call);
  pending_.erase(pending);
}

void ApiTracer::tell_unreturned(PendingList::iterator pending) {
  capture::RecordView entry;
  if (capture::RecordView::parse(pending->entry, entry))
    tell(pending->api, &entry, nullptr, pending->origin, pending->depth, {});
  forget(pending);
}

template <class Condition>
void ApiTracer::tell_unreturned_if(Condition&& condition) {
  for (auto it = pending_.begin(); it != pending_.end();) {
    const auto next = std::next(it);
    if (condition(*it)) tell_unreturned(it);
    it = next;
  }
}

void ApiTracer::on_process_exit(const ProcessPtr& process) {
  tell_unreturned_if([&](const Pending& p) { return same_process(p.origin.process, process); });
}

void ApiTracer::on_process_executed(const ProcessPtr& process) {
  tell_unreturned_if([&](const Pending& p) {
    return p.api.signature.module != api::kKernelModule && same_process(p.origin.process, process);
  });
}

void ApiTracer::on_hook_removed(const api::Signature& signature) {
  tell_unreturned_if([&](const Pending& p) { return &p.api.signature == &signature; });
}

void ApiTracer::finish() {
  while (!pending_.empty()) tell_unreturned(pending_.begin());
}

void ApiTracer::tell(const Api& api, const capture::RecordView* entry,
                     const capture::RecordView* exit, const Origin& origin, std::uint32_t depth,
                     std::chrono::nanoseconds duration) {
  const api::Signature& signature = api.signature;
  const api::ApiCall call = api::decode_call(api.vocabulary, signature, entry, exit);
  const auto& names = argument_names(signature);
  Event event;
  event.action = "api_called";
  event.category = "api";
  event.time = origin.time;
  event.process = origin.process;
  event.thread_id = origin.thread_id;
  event.fields.push_back({"api.module", signature.module});
  event.fields.push_back({"api.name", signature.name});
  event.fields.push_back({"api.depth", std::uint64_t{depth}});
  if (const auto* ids = entry != nullptr ? entry->find(hook::kWin32Field) : nullptr) {
    event.fields.push_back({"glasshook.windows.process_id", ids->word(hook::kWin32ProcessId)});
    event.fields.push_back({"glasshook.windows.thread_id", ids->word(hook::kWin32ThreadId)});
    event.fields.push_back(
        {"glasshook.windows.caller", fmt::format("{:#x}", ids->word(hook::kWin32Caller))});
  }
  for (std::size_t i = 0; i < call.arguments.size() && i < names.size(); ++i)
    if (call.arguments[i].relevant) event.fields.push_back({names[i], call.arguments[i].value});
  if (call.returned) {
    event.fields.push_back({"api.result", call.result_value});
    event.fields.push_back({"event.duration", static_cast<std::uint64_t>(duration.count())});
  }
  if (call.failed && !call.error_name.empty())
    event.fields.push_back({"api.error", call.error_name});
  if (!call.incomplete.empty()) event.fields.push_back({"api.incomplete", call.incomplete});
  emit_(std::move(event));
}

}  // namespace glasshook::monitor
