#include "behaviour/windows/direct_call_family.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "behaviour/support.h"

namespace glasshook::behaviour::windows {
namespace {

/// What programs do anything by, and do not do all the time.
constexpr auto kFunctions = std::to_array<std::string_view>({
    "NtCreateFile",
    "NtOpenFile",
    "NtWriteFile",
    "NtSetInformationFile",
    "NtCreateKey",
    "NtSetValueKey",
    "NtDeleteKey",
    "NtCreateUserProcess",
    "NtOpenProcess",
    "NtTerminateProcess",
    "NtAllocateVirtualMemory",
    "NtWriteVirtualMemory",
    "NtProtectVirtualMemory",
    "NtCreateSection",
    "NtMapViewOfSection",
    "NtCreateThreadEx",
    "NtQueueApcThread",
    "NtSetContextThread",
    "NtResumeThread",
    "NtDuplicateObject",
});

constexpr std::string_view kUnixHalf = "ntdll.so";

/// Wine passes a system call on to a function of the same name in ntdll.so, from one place, the
/// dispatcher. Calls that come from there belong to a call of ntdll.dll's function that is under
/// way in the same thread, or else the program has entered the dispatcher by itself. Where the
/// dispatcher is shows with the calls that do belong to one: Wine's own calls among functions of
/// ntdll.so return elsewhere.
class DirectCallFamily final : public TimedFamily {
 public:
  [[nodiscard]] std::string_view name() const override { return "windows-syscall"; }
  [[nodiscard]] std::string_view description() const override {
    return "system calls that programs make without ntdll";
  }
  [[nodiscard]] Platform platform() const override { return Platform::windows; }

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    std::vector<WantedApi> all;
    for (const std::string_view function : kFunctions) {
      all.push_back({.selector = "ntdll!" + std::string(function), .at_entry = true});
      all.push_back({.selector = std::string(kUnixHalf) + "!" + std::string(function),
                     .at_entry = true,
                     .without_signature = true});
    }
    return all;
  }

  void on_user_call_entered(const UserCall& call, Context& context) override {
    advance(call.began);
    if (!call.process) return;
    Known& known = known_[call.process->entity_id];
    if (call.as.module == kUnixHalf) return passed_on(call, known, context);
    if (known.open.size() < kMostOpen) known.open.emplace(call.id, call);
  }

  void on_user_call(const UserCall& call, Context&) override {
    advance(call.ended);
    if (!call.process) return;
    if (const auto found = known_.find(call.process->entity_id); found != known_.end())
      found->second.open.erase(call.id);
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context&) override {
    if (process) known_.erase(process->entity_id);
  }

 private:
  /// A call of ntdll.dll's function that is under way.
  struct Open {
    explicit Open(const UserCall& call) : thread_id(call.thread_id), function(call.name()) {}
    std::uint32_t thread_id;
    std::string function;
  };
  struct Known {
    std::map<std::uint64_t, Open> open;   ///< by call id
    std::set<std::uint64_t> dispatchers;  ///< where functions that were passed on return to
    std::set<std::string> told;
  };
  /// Of one process; beyond that nothing is told.
  static constexpr std::size_t kMostOpen = 4096, kMostDispatchers = 8;

  static void passed_on(const UserCall& call, Known& known, Context& context) {
    if (call.caller == 0) return;
    const bool belongs = std::ranges::any_of(known.open, [&](const auto& open) {
      return open.second.thread_id == call.thread_id && open.second.function == call.name();
    });
    if (belongs && known.dispatchers.size() < kMostDispatchers)
      known.dispatchers.insert(call.caller);
    // With calls lost from sight, nothing is sure.
    if (belongs || known.open.size() >= kMostOpen || !known.dispatchers.contains(call.caller))
      return;
    if (!known.told.emplace(call.name()).second) return;
    Event event = make_event("api_bypassed");
    add(event, "glasshook.bypass.origin", "direct_system_call");
    add(event, "glasshook.bypass.function", "ntdll!" + std::string(call.name()));
    context.emit(call, std::move(event));
  }

  std::map<std::string, Known> known_;  ///< by entity id
};

}  // namespace

std::unique_ptr<Family> make_direct_call_family() { return std::make_unique<DirectCallFamily>(); }

}  // namespace glasshook::behaviour::windows
