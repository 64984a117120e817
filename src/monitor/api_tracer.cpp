#include "monitor/api_tracer.h"

#include <utility>

#include "api/call.h"
#include "api/from_btf.h"
#include "hook/spec.h"

namespace glasshook::monitor {

namespace {

std::uint64_t thread_key(const ApiTracer::Origin& origin) {
  const std::uint64_t start = origin.process ? origin.process->start_time : 0;
  return start * 0x9e3779b97f4a7c15 ^ origin.thread_id;
}

bool same_process(const ProcessPtr& a, const ProcessPtr& b) {
  return a == b || (a && b && a->entity_id == b->entity_id);
}

}  // namespace

void ApiTracer::on_record(const ApiHook& hook, bool at_entry, const capture::RecordView& record,
                          const Origin& origin) {
  if (record.header().kind == capture::RecordKind::entry) {
    if (!hook.awaits_return)
      return tell({.call = record.header().call, .hook = hook, .entry = {}, .origin = origin},
                  record, nullptr, origin.time);
    const Pending& pending = remember(hook, record, origin);
    if (at_entry) tell(pending, record, nullptr, origin.time, true);
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
  capture::RecordView entry;
  if (capture::RecordView::parse(found->second->entry, entry))
    tell(*found->second, entry, &record, origin.time);
  forget(found->second);
}

const ApiTracer::Pending& ApiTracer::remember(const ApiHook& hook,
                                              const capture::RecordView& record,
                                              const Origin& origin) {
  if (pending_.size() >= kMaxPending) {
    ++unjoined_;
    tell_unreturned(pending_.begin());
  }
  const auto bytes = record.bytes();
  Depth& depth = depth_[thread_key(origin)];
  pending_.push_back({.call = record.header().call,
                      .hook = hook,
                      .entry = {bytes.begin(), bytes.end()},
                      .origin = origin,
                      .depth = depth});
  ++depth.all;
  if (hook.shown != nullptr) ++depth.shown;
  by_call_[record.header().call] = std::prev(pending_.end());
  return pending_.back();
}

void ApiTracer::forget(PendingList::iterator pending) {
  const auto depth = depth_.find(thread_key(pending->origin));
  if (depth != depth_.end()) {
    if (pending->hook.shown != nullptr) --depth->second.shown;
    if (--depth->second.all == 0) depth_.erase(depth);
  }
  by_call_.erase(pending->call);
  pending_.erase(pending);
}

void ApiTracer::tell_unreturned(PendingList::iterator pending) {
  capture::RecordView entry;
  if (capture::RecordView::parse(pending->entry, entry))
    tell(*pending, entry, nullptr, pending->origin.time);
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
    return p.hook.signature->module != api::kKernelModule &&
           same_process(p.origin.process, process);
  });
}

void ApiTracer::on_hook_removed(const api::Signature& signature) {
  tell_unreturned_if([&](const Pending& p) { return p.hook.signature == &signature; });
}

void ApiTracer::finish() {
  while (!pending_.empty()) tell_unreturned(pending_.begin());
}

void ApiTracer::tell(const Pending& pending, const capture::RecordView& entry,
                     const capture::RecordView* exit, Origin::Time ended, bool is_entry) {
  const ApiHook& hook = pending.hook;
  const api::ApiCall decoded = api::decode_call(*hook.vocabulary, *hook.signature, &entry, exit);
  const capture::FieldView* ids = entry.find(hook::kWin32Field);
  const capture::FieldView* context = entry.find(hook::kContextField);
  const auto id = [&](std::size_t word) {
    return ids == nullptr ? 0 : static_cast<std::uint32_t>(ids->word(word));
  };
  tell_({.call = {.api = decoded,
                  .as = hook.wanted != nullptr ? *hook.wanted : *hook.signature,
                  .began = pending.origin.time,
                  .ended = ended,
                  .process = pending.origin.process,
                  .thread_id = pending.origin.thread_id,
                  .win32_process_id = id(hook::kWin32ProcessId),
                  .win32_thread_id = id(hook::kWin32ThreadId),
                  .address = context == nullptr ? 0 : context->word(hook::kContextUserIp),
                  .caller = ids == nullptr ? 0 : ids->word(hook::kWin32Caller),
                  .depth = pending.depth.all,
                  .id = pending.call},
         .hook = hook,
         .shown_depth = pending.depth.shown,
         .is_entry = is_entry});
}

}  // namespace glasshook::monitor
