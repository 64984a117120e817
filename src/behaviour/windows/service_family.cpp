#include "behaviour/windows/service_family.h"

#include <map>

#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::uint64_t kControlStop = 1;  // SERVICE_CONTROL_STOP, winsvc.h

/// The functions whose names end in A come to those that end in W.
class ServiceFamily final : public WindowsTableFamily<ServiceFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-service"; }
  [[nodiscard]] std::string_view description() const override {
    return "services that Windows programs make, start, stop and delete";
  }

  static std::vector<Rule> rules() {
    return {{"advapi32!CreateServiceW", &ServiceFamily::on_created},
            {"advapi32!OpenServiceW", &ServiceFamily::on_opened},
            {"advapi32!StartServiceW", &ServiceFamily::on_started},
            {"advapi32!ControlService", &ServiceFamily::on_control},
            {"advapi32!DeleteService", &ServiceFamily::on_deleted},
            {"advapi32!CloseServiceHandle", &ServiceFamily::on_closed}};
  }

 private:
  using Handle = std::pair<std::string, std::uint64_t>;  ///< entity id, the handle
  /// Handles followed; those beyond stay unknown.
  static constexpr std::size_t kMostHandles = 10'000;

  static Handle handle_of(const UserCall& call, std::uint64_t handle) {
    return {call.process->entity_id, handle};
  }

  void process_ended(const Process& process, Context&) override {
    std::erase_if(names_,
                  [&](const auto& known) { return known.first.first == process.entity_id; });
  }

  void remember(const UserCall& call) {
    if (names_.size() < kMostHandles)
      names_[handle_of(call, call.api.result)] = call.data("lpServiceName");
  }

  void on_opened(const UserCall& call, Context&) { remember(call); }
  void on_closed(const UserCall& call, Context&) {
    names_.erase(handle_of(call, call.raw("hSCObject")));
  }

  void on_created(const UserCall& call, Context& context) {
    remember(call);
    Event event = make_event("service_created");
    add(event, "service.name", std::string{call.data("lpServiceName")});
    add_known(event, "glasshook.service.display_name", std::string{call.data("lpDisplayName")});
    add_known(event, "glasshook.service.command_line", std::string{call.data("lpBinaryPathName")});
    add_known(event, "glasshook.service.account", std::string{call.data("lpServiceStartName")});
    add(event, "glasshook.service.type", named(call, "dwServiceType"));
    add(event, "glasshook.service.start", named(call, "dwStartType"));
    context.emit(call, std::move(event));
  }

  void on_started(const UserCall& call, Context& context) {
    tell(call, "service_started", context);
  }
  void on_deleted(const UserCall& call, Context& context) {
    tell(call, "service_deleted", context);
  }
  void on_control(const UserCall& call, Context& context) {
    if ((call.raw("dwControl") & 0xffffffff) == kControlStop)
      tell(call, "service_stopped", context);
  }

  void tell(const UserCall& call, std::string_view action, Context& context) {
    Event event = make_event(action);
    const auto known = names_.find(handle_of(call, call.raw("hService")));
    if (known != names_.end()) {
      add(event, "service.name", known->second);
    } else {
      add_flag(event, "glasshook.handle.unresolved", true);
      add(event, "glasshook.handle.value", hex(call.raw("hService")));
    }
    context.emit(call, std::move(event));
  }

  std::map<Handle, std::string> names_;
};

}  // namespace

std::unique_ptr<Family> make_service_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<ServiceFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
