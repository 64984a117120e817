// What families of Windows behaviours share.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "behaviour/support.h"
#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

/// A family that looks at calls of Windows programs, and knows what their handles stand for.
class WindowsFamily : public TimedFamily {
 public:
  explicit WindowsFamily(std::shared_ptr<Objects> objects) : objects_(std::move(objects)) {}
  ~WindowsFamily() override { objects_->done(this); }

  [[nodiscard]] Platform platform() const final { return Platform::windows; }
  void on_user_call_entered(const UserCall& call, Context& context) final;
  void on_user_call(const UserCall& call, Context& context) final;
  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) final;

 protected:
  virtual void entered(const UserCall&, Context&) {}
  virtual void returned(const UserCall& call, Context& context) = 0;
  /// The handles of the process are closed already.
  virtual void process_ended(const Process&, Context&) {}

  [[nodiscard]] Objects& objects() { return *objects_; }

 private:
  std::shared_ptr<Objects> objects_;
};

/// A Windows family whose functions and handlers stand side by side in one table. `Derived` has
/// `static std::vector<Rule> rules()`. Handlers get calls that succeeded.
template <class Derived>
class WindowsTableFamily : public WindowsFamily {
 public:
  struct Rule {
    std::string selector;  ///< "ntdll!NtCreateFile"
    void (Derived::*handle)(const UserCall&, Context&);
  };

  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    std::vector<WantedApi> all = Objects::apis();
    for (Rule& rule : Derived::rules()) all.push_back({std::move(rule.selector)});
    return all;
  }

 protected:
  void returned(const UserCall& call, Context& context) override {
    if (!call.succeeded() || !call.process) return;
    if (rules_.empty()) rules_ = Derived::rules();
    for (const Rule& rule : rules_)
      if (std::string_view(rule.selector).substr(rule.selector.find('!') + 1) == call.name())
        return (static_cast<Derived*>(this)->*rule.handle)(call, context);
  }

 private:
  std::vector<Rule> rules_;
};

/// Functions that call each other to do one thing, as ws2_32!WSAConnect calls connect: which call
/// is the program's own. Calls beyond kMost under way are taken for such.
class NestedCalls {
 public:
  static constexpr std::size_t kMost = 4096;

  /// For calls of known processes alone, as all here.
  void enter(const UserCall& call);
  /// True when the call that returns was inside no other.
  bool leave(const UserCall& call);
  /// True when the thread is inside one.
  [[nodiscard]] bool inside(const UserCall& call) const;
  void process_ended(const Process& process);

 private:
  using Thread = std::pair<std::string, std::uint32_t>;  ///< entity id, thread

  std::map<Thread, int> under_way_;
};

/// `glasshook.handle.unresolved` and `glasshook.handle.value`, when it is not known what the handle
/// stands for.
void add_handle(Event& event, const Object& object, std::uint64_t handle);

}  // namespace glasshook::behaviour::windows
