#include "behaviour/windows/object_family.h"

#include <map>
#include <set>

#include "behaviour/windows/object_makers.h"
#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::uint64_t kNameExists = 0x40000000;  // STATUS_OBJECT_NAME_EXISTS, ntstatus.h

/// Programs know each other by such names.
class ObjectFamily final : public WindowsTableFamily<ObjectFamily> {
 public:
  using WindowsTableFamily::WindowsTableFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-object"; }
  [[nodiscard]] std::string_view description() const override {
    return "named mutexes, events, semaphores and pipes that Windows programs make and open";
  }

  static std::vector<Rule> rules() {
    using F = ObjectFamily;
    return {
        {"ntdll!NtCreateMutant", &F::on_created},       {"ntdll!NtOpenMutant", &F::on_opened},
        {"ntdll!NtCreateEvent", &F::on_created},        {"ntdll!NtOpenEvent", &F::on_opened},
        {"ntdll!NtCreateSemaphore", &F::on_created},    {"ntdll!NtOpenSemaphore", &F::on_opened},
        {"ntdll!NtCreateNamedPipeFile", &F::on_created}};
  }

 private:
  /// Names told of one process.
  static constexpr std::size_t kMostNames = 4096;

  void process_ended(const Process& process, Context&) override { told_.erase(process.entity_id); }

  void on_created(const UserCall& call, Context& context) {
    const bool was_there = (call.api.result & 0xffffffff) == kNameExists;
    tell(call, was_there ? "object_opened" : "object_created", context);
  }
  void on_opened(const UserCall& call, Context& context) { tell(call, "object_opened", context); }

  /// Told once for each process and name.
  void tell(const UserCall& call, std::string_view action, Context& context) {
    const auto makers = object_makers();
    const auto maker = std::ranges::find(makers, call.name(), &ObjectMaker::function);
    if (maker == makers.end()) return;
    const ObjectPtr object = objects().find(call, call.number(maker->handle));
    if (object == nullptr || object->name.empty()) return;
    auto& told = told_[call.process->entity_id];
    if (told.size() >= kMostNames || !told.emplace(action, object->name).second) return;
    Event event = make_event(action);
    add(event, "glasshook.object.type", std::string{name_of(object->kind)});
    add(event, "glasshook.object.name", object->name);
    context.emit(call, std::move(event));
  }

  std::map<std::string, std::set<std::pair<std::string_view, std::string>>> told_;
};

}  // namespace

std::unique_ptr<Family> make_object_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<ObjectFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
