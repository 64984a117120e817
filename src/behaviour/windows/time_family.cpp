#include "behaviour/windows/time_family.h"

#include <algorithm>
#include <limits>
#include <map>

#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

constexpr std::int64_t kTicksPerMillisecond = 10'000;  // of 100 ns

/// These functions are called very often, so the family has to be asked for.
class TimeFamily final : public WindowsFamily {
 public:
  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-time"; }
  [[nodiscard]] std::string_view description() const override {
    return "how often and long Windows programs sleep, and how often they look at the time";
  }
  [[nodiscard]] bool on_by_default(Platform) const override { return false; }

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    return {{"ntdll!NtDelayExecution"},          {"ntdll!NtQuerySystemTime"},
            {"ntdll!NtQueryPerformanceCounter"}, {"kernel32!GetTickCount"},
            {"kernel32!GetTickCount64"},         {"kernel32!QueryPerformanceCounter"},
            {"kernel32!GetSystemTimeAsFileTime"}};
  }

  void on_end(Context& context) override {
    for (const auto& [process, use] : uses_) tell(use, context);
    uses_.clear();
  }

 private:
  struct Use {
    std::shared_ptr<const Process> process;
    std::uint64_t sleeps = 0, milliseconds = 0, checks = 0;
  };
  static constexpr std::size_t kMostProcesses = 10'000;
  /// Waits without end count as nothing; others of a program's own making can overflow.
  static constexpr std::uint64_t kMostMilliseconds = std::uint64_t{1} << 52;

  void returned(const UserCall& call, Context& context) override {
    // QueryPerformanceCounter comes to NtQueryPerformanceCounter, and so on: the outer one counts.
    const bool is_sleep = call.name() == "NtDelayExecution";
    if (!call.process || !call.api.returned || (!is_sleep && call.depth > 0)) return;
    if (uses_.size() >= kMostProcesses) on_end(context);
    Use& use = uses_[call.process->entity_id];
    use.process = call.process;
    if (!is_sleep) {
      ++use.checks;
      return;
    }
    ++use.sleeps;
    const auto interval = static_cast<std::int64_t>(call.number("DelayInterval"));
    // A negative number is a length, a positive one a moment.
    if (interval >= 0 || interval == std::numeric_limits<std::int64_t>::min()) return;
    use.milliseconds =
        std::min(kMostMilliseconds,
                 use.milliseconds + static_cast<std::uint64_t>(-interval / kTicksPerMillisecond));
  }

  void process_ended(const Process& process, Context& context) override {
    const auto found = uses_.find(process.entity_id);
    if (found == uses_.end()) return;
    tell(found->second, context);
    uses_.erase(found);
  }

  void tell(const Use& use, Context& context) {
    Event event = make_event("time_used");
    event.process = use.process;
    event.time = now();
    add_number(event, "glasshook.time.sleeps", use.sleeps);
    add_number(event, "glasshook.time.slept_ms", use.milliseconds);
    add_number(event, "glasshook.time.checks", use.checks);
    context.emit(std::move(event));
  }

  std::map<std::string, Use> uses_;  ///< by entity id
};

}  // namespace

std::unique_ptr<Family> make_time_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<TimeFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
