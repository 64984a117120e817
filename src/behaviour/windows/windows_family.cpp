#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {

void WindowsFamily::on_user_call_entered(const UserCall& call, Context& context) {
  advance(call.began);
  objects_->see_entered(call);
  entered(call, context);
}

void WindowsFamily::on_user_call(const UserCall& call, Context& context) {
  advance(call.ended);
  objects_->see(call, context);
  returned(call, context);
}

void WindowsFamily::on_process_exit(const std::shared_ptr<const Process>& process,
                                    Context& context) {
  if (!process) return;
  objects_->process_exited(process, now(), context);
  process_ended(*process, context);
}

void NestedCalls::enter(const UserCall& call) {
  if (under_way_.size() < kMost) ++under_way_[{call.process->entity_id, call.thread_id}];
}

bool NestedCalls::leave(const UserCall& call) {
  const auto found = under_way_.find({call.process->entity_id, call.thread_id});
  if (found == under_way_.end()) return true;
  if (--found->second > 0) return false;
  under_way_.erase(found);
  return true;
}

bool NestedCalls::inside(const UserCall& call) const {
  return under_way_.contains({call.process->entity_id, call.thread_id});
}

void NestedCalls::process_ended(const Process& process) {
  std::erase_if(under_way_,
                [&](const auto& calls) { return calls.first.first == process.entity_id; });
}

void add_handle(Event& event, const Object& object, std::uint64_t handle) {
  if (!object.unresolved) return;
  add_flag(event, "glasshook.handle.unresolved", true);
  add(event, "glasshook.handle.value", hex(handle));
}

}  // namespace glasshook::behaviour::windows
