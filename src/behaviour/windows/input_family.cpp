#include "behaviour/windows/input_family.h"

#include <map>

#include "behaviour/totals.h"
#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

// winuser.h
constexpr std::uint64_t kKeyboardHook = 2, kLowLevelKeyboardHook = 13;

/// The first call of a kind is told at once; how many there were when the process ends.
class InputFamily final : public WindowsFamily {
 public:
  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-input"; }
  [[nodiscard]] std::string_view description() const override {
    return "keystrokes that Windows programs listen to, and the clipboard";
  }

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    return {{"user32!SetWindowsHookExA"},       {"user32!SetWindowsHookExW"},
            {"user32!RegisterRawInputDevices"}, {"user32!GetAsyncKeyState"},
            {"user32!GetKeyboardState"},        {"user32!GetClipboardData"},
            {"user32!SetClipboardData"}};
  }

  void on_end(Context& context) override {
    for (auto& [key, use] : uses_) tell_all(key, use, context);
    uses_.clear();
  }

 private:
  struct UseKey {
    std::string process;  ///< entity id
    std::string_view action;
    std::string method, format;

    auto operator<=>(const UseKey&) const = default;
  };
  struct Use {
    std::shared_ptr<const Process> process;
    Totals totals;
  };
  static constexpr std::size_t kMostUses = 10'000;

  void returned(const UserCall& call, Context& context) override {
    const std::string_view function = call.name();
    if (!call.process || !call.api.returned) return;
    // What GetAsyncKeyState and its like return is no failure.
    const bool asks = function == "GetAsyncKeyState" || function == "GetKeyboardState";
    if (!asks && !call.succeeded()) return;
    UseKey key{.process = call.process->entity_id,
               .action = "keyboard_watched",
               .method = std::string{function},
               .format = {}};
    if (function.starts_with("SetWindowsHookEx")) {
      const std::uint64_t hook = call.raw("idHook") & 0xffffffff;
      if (hook != kKeyboardHook && hook != kLowLevelKeyboardHook) return;
    } else if (function.ends_with("ClipboardData")) {
      key.action = function.starts_with('G') ? "clipboard_read" : "clipboard_written";
      key.format = named(call, "uFormat");
    }
    if (uses_.size() >= kMostUses) on_end(context);
    const auto [use, is_first] = uses_.try_emplace(key);
    use->second.process = call.process;
    use->second.totals.count(0, call.ended);
    if (is_first) context.emit(call, make(key));
  }

  static Event make(const UseKey& key) {
    Event event = make_event(key.action);
    add(event, "glasshook.method", key.method);
    add_known(event, "glasshook.clipboard.format", key.format);
    return event;
  }

  void tell_all(const UseKey& key, const Use& use, Context& context) {
    if (use.totals.operations < 2) return;
    Event event = make(key);
    event.process = use.process;
    event.time = now();
    add_number(event, "glasshook.operations", use.totals.operations);
    add(event, "event.start", iso_time(use.totals.first));
    add(event, "event.end", iso_time(use.totals.last));
    context.emit(std::move(event));
  }

  void process_ended(const Process& process, Context& context) override {
    std::erase_if(uses_, [&](const auto& use) {
      if (use.first.process != process.entity_id) return false;
      tell_all(use.first, use.second, context);
      return true;
    });
  }

  std::map<UseKey, Use> uses_;
};

}  // namespace

std::unique_ptr<Family> make_input_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<InputFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
