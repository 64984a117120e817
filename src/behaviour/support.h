// What families share: writing hook specs and events, joining entries with returns.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "behaviour/actions.h"
#include "behaviour/family.h"
#include "hook/spec.h"

namespace glasshook::behaviour {

// --- hook specs -----------------------------------------------------------------------------

/// Holds for what kernel functions return when all went well: 0, a count, or a pointer that is no
/// ERR_PTR (include/linux/err.h).
inline constexpr const char* kNoError = "(unsigned long)ret < 0xfffffffffffff001";
/// Overlay file systems do each call again on their layers, under the mounter's credentials:
/// this holds for the call a program made and not for those.
inline constexpr const char* kOwnCredentials = "current->cred == current->real_cred";

[[nodiscard]] hook::Capture word(std::string name, std::string expression);
[[nodiscard]] hook::Capture string(std::string name, std::string expression,
                                   std::uint32_t max = 256);
[[nodiscard]] hook::Capture bytes(std::string name, std::string expression, std::string length,
                                  std::uint32_t max);
[[nodiscard]] hook::Capture path(std::string name, std::string expression);
[[nodiscard]] hook::Capture dentry(std::string name, std::string expression);

/// A record at entry alone.
[[nodiscard]] hook::HookSpec at_entry(std::vector<std::string> functions,
                                      std::vector<std::string> when,
                                      std::vector<hook::Capture> captures);
/// A record at the return alone. `before` filters at entry, `after` at the return.
[[nodiscard]] hook::HookSpec at_exit(std::vector<std::string> functions,
                                     std::vector<std::string> before,
                                     std::vector<std::string> after,
                                     std::vector<hook::Capture> captures);
/// A record before a privileged instruction; `name` is for tables and messages.
[[nodiscard]] hook::HookSpec at_instruction(hypervisor::PrivilegedInstruction instruction,
                                            std::string name, std::vector<std::string> when,
                                            std::vector<hook::Capture> captures);
/// Marks a spec whose function not every kernel has.
[[nodiscard]] hook::HookSpec optional(hook::HookSpec spec);

/// Marks a spec for which it does not matter who runs.
[[nodiscard]] hook::HookSpec anonymous(hook::HookSpec spec);

/// Marks one of the few hooks that say most (at most four of all families' are chosen).
[[nodiscard]] hook::HookSpec choke_point(hook::HookSpec spec);

/// A family that tells totals. They are told under the time of the telling, so that times go
/// forward; when it began and ended is in their fields.
class TimedFamily : public Family {
 public:
  void on_any_call(const Call& call, Context&) override { advance(call.time()); }

 protected:
  /// Of the latest call of any family.
  [[nodiscard]] std::chrono::system_clock::time_point now() const { return now_; }
  void advance(std::chrono::system_clock::time_point time) { now_ = std::max(now_, time); }

 private:
  std::chrono::system_clock::time_point now_;
};

/// A family whose hooks and handlers stand side by side in one table. `Derived` has
/// `static std::vector<Rule> rules()`.
template <class Derived>
class TableFamily : public TimedFamily {
 public:
  struct Rule {
    hook::HookSpec spec;
    void (Derived::*handle)(const Call&, Context&);
  };

  [[nodiscard]] std::vector<hook::HookSpec> hooks() const final {
    std::vector<hook::HookSpec> specs;
    for (Rule& rule : Derived::rules()) specs.push_back(std::move(rule.spec));
    return specs;
  }

  void on_call(const Call& call, Context& context) final {
    if (handlers_.empty())
      for (const Rule& rule : Derived::rules()) handlers_.push_back(rule.handle);
    if (call.spec_index() < handlers_.size())
      (static_cast<Derived*>(this)->*handlers_[call.spec_index()])(call, context);
  }

 private:
  std::vector<void (Derived::*)(const Call&, Context&)> handlers_;
};

// --- state ----------------------------------------------------------------------------------

/// Names a process for good.
struct ProcessKey {
  std::uint32_t pid = 0;
  std::uint64_t start_time = 0;

  auto operator<=>(const ProcessKey&) const = default;
};

[[nodiscard]] ProcessKey key_of(const Call& call);
[[nodiscard]] ProcessKey key_of(const Process& process);

/// What a call's entry said, kept until its return. A return that never comes is forgotten when
/// kLimit newer calls wait.
template <class T>
class PendingCalls {
 public:
  static constexpr std::size_t kLimit = 4096;

  void put(const Call& call, T value) {
    const std::uint64_t id = call.record().header().call;
    if (pending_.insert_or_assign(id, std::move(value)).second) order_.push_back(id);
    while (pending_.size() > kLimit || order_.size() > 4 * kLimit) {
      pending_.erase(order_.front());
      order_.pop_front();
    }
  }

  [[nodiscard]] std::optional<T> take(const Call& call) {
    auto node = pending_.extract(call.record().header().call);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }

 private:
  std::unordered_map<std::uint64_t, T> pending_;
  std::deque<std::uint64_t> order_;  ///< oldest first; may name calls already taken
};

// --- events ---------------------------------------------------------------------------------

void add(Event& event, std::string_view name, std::string text);
void add(Event& event, std::string_view name, std::vector<std::string> list);
void add_number(Event& event, std::string_view name, std::uint64_t number);
/// Only when it is true.
void add_flag(Event& event, std::string_view name, bool value);
/// Only when it is not empty.
void add_known(Event& event, std::string_view name, std::string text);

/// "0x7f00"
[[nodiscard]] std::string hex(std::uint64_t value);
/// "0644", from the low twelve bits.
[[nodiscard]] std::string octal_mode(std::uint64_t mode);

/// A bit or a bit group with its name.
struct FlagName {
  std::uint64_t value;
  std::string_view name;
};
/// "A|B|0x40"
[[nodiscard]] std::string flag_names(std::uint64_t value, std::span<const FlagName> names);

/// "SIGKILL", "SIGRTMIN+3", "signal 99" (Linux x86-64 numbers).
[[nodiscard]] std::string signal_name(std::uint64_t number);
/// "ENOENT", "error 600"; from a negated errno as kernel functions return it.
[[nodiscard]] std::string error_name(std::int64_t negative_errno);
/// "openat" for 257; "" for what is no x86-64 system call.
[[nodiscard]] std::string syscall_name(std::uint64_t number);

/// Fields glasshook.target.*: the process something was done to. `pid` and `name` as captured; the
/// rest when the process is known.
void add_target(Event& event, Context& context, std::uint32_t pid, std::string_view name);

/// As /proc/PID/exe shows it: a memfd, which lies in no directory, has a slash in front all the
/// same.
[[nodiscard]] std::string rooted(const std::string& path);

/// The bytes up to the first NUL.
[[nodiscard]] std::string_view until_nul(std::string_view bytes);
/// What stands between the NULs; an unfinished last piece counts.
[[nodiscard]] std::vector<std::string> split_nul(std::string_view bytes);

}  // namespace glasshook::behaviour
