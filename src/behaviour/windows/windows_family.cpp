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

void add_handle(Event& event, const Object& object, std::uint64_t handle) {
  if (!object.unresolved) return;
  add_flag(event, "glasshook.handle.unresolved", true);
  add(event, "glasshook.handle.value", hex(handle));
}

}  // namespace glasshook::behaviour::windows
