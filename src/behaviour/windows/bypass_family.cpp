#include "behaviour/windows/bypass_family.h"

#include <map>
#include <set>

#include "base/guest_address.h"
#include "behaviour/bypass/import_event.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

/// Hooks follow the content of code, so they are in copies of a module too. Where the loader has
/// loaded no module, a program has made the copy, to pass hooks by or to have none of its calls
/// found under ntdll.
class BypassFamily final : public WindowsFamily {
 public:
  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-bypass"; }
  [[nodiscard]] std::string_view description() const override {
    return "functions of ntdll that run from private copies of it; imports that were replaced";
  }

  [[nodiscard]] bool wants_import_checks() const override { return true; }
  void on_import_replaced(const std::shared_ptr<const Process>& process,
                          const ReplacedImport& replaced,
                          std::chrono::system_clock::time_point time, Context& context) override {
    context.emit(import_event(process, replaced, time));
  }

  /// What programs do anything by.
  [[nodiscard]] std::vector<WantedApi> apis() const override {
    std::vector<WantedApi> all;
    for (const char* function : {"NtCreateFile",
                                 "NtOpenFile",
                                 "NtReadFile",
                                 "NtWriteFile",
                                 "NtSetInformationFile",
                                 "NtDeviceIoControlFile",
                                 "NtCreateKey",
                                 "NtOpenKey",
                                 "NtOpenKeyEx",
                                 "NtSetValueKey",
                                 "NtCreateUserProcess",
                                 "NtOpenProcess",
                                 "NtTerminateProcess",
                                 "NtAllocateVirtualMemory",
                                 "NtWriteVirtualMemory",
                                 "NtReadVirtualMemory",
                                 "NtProtectVirtualMemory",
                                 "NtCreateSection",
                                 "NtMapViewOfSection",
                                 "NtUnmapViewOfSection",
                                 "NtCreateThreadEx",
                                 "NtOpenThread",
                                 "NtQueueApcThread",
                                 "NtGetContextThread",
                                 "NtSetContextThread",
                                 "NtSuspendThread",
                                 "NtResumeThread",
                                 "NtDuplicateObject"})
      all.push_back({std::string("ntdll!") + function});
    return all;
  }

 private:
  struct Known {
    std::set<std::uint64_t> good;                          ///< pages of modules
    std::set<std::pair<std::string, std::uint64_t>> told;  ///< functions, and pages they ran from
  };
  /// Of one process. More pages are looked up again, more functions and copies are not told.
  static constexpr std::size_t kMostPages = 1024, kMostTold = 256;

  void process_ended(const Process& process, Context&) override { known_.erase(process.entity_id); }

  void returned(const UserCall& call, Context& context) override {
    if (!call.process || call.address == 0) return;
    Known& known = known_[call.process->entity_id];
    const std::uint64_t page = call.address & ~kPageMask;
    if (known.good.contains(page)) return;
    const std::pair place{std::string{call.name()}, page};
    if (known.told.size() >= kMostTold || known.told.contains(place)) return;
    const auto module = context.windows_module_at(call, call.address);
    if (!module) return;
    if (!module->empty()) {
      if (known.good.size() < kMostPages) known.good.insert(page);
      return;
    }
    known.told.insert(place);
    Event event = make_event("api_bypassed");
    add(event, "glasshook.bypass.origin", "private_copy");
    add(event, "glasshook.bypass.function", "ntdll!" + place.first);
    add(event, "glasshook.address", hex(call.address));
    context.emit(call, std::move(event));
  }

  std::map<std::string, Known> known_;  ///< by entity id
};

}  // namespace

std::unique_ptr<Family> make_bypass_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<BypassFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
