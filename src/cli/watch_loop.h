// The loop that turns a session into output until something ends it.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

#include "base/result.h"
#include "cli/event_outputs.h"
#include "cli/hook_commands.h"
#include "cli/interrupts.h"
#include "monitor/session.h"

namespace glasshook::cli {

/// What is watched, and what may end it from outside.
struct Watching {
  monitor::Session& session;
  EventOutputs& outputs;
  const Interrupts& interrupts;
  std::optional<std::chrono::milliseconds> timeout;
  HookCommands* commands = nullptr;  ///< may be null
};

/// --commands; nothing when it was not given.
[[nodiscard]] Result<std::optional<HookCommands>> commands_of(const WatchOptions& options);

enum class WatchEnd {
  done,         ///< `step` said so
  timed_out,    ///< after `timeout`
  interrupted,  ///< Ctrl-C
  vm_gone,      ///< the VM ended or the probe hung up
};

/// How long a look at anything else than the guest's records may have to wait: 10 ms, and longer
/// while none come. Each look takes the guest's processor away where it is the only one.
class Patience {
 public:
  [[nodiscard]] std::chrono::milliseconds now() const { return now_; }
  void saw(bool records) { now_ = records ? kShortest : std::min(2 * now_, kLongest); }

 private:
  static constexpr std::chrono::milliseconds kShortest{10}, kLongest{40};
  std::chrono::milliseconds now_ = kShortest;
};

/// Handles records and calls `step` 25 to a hundred times a second, until one of the ends, or an
/// error (of the session, of an output, or of `step`).
[[nodiscard]] Result<WatchEnd> watch(const Watching& watching,
                                     const std::function<Result<bool>()>& step);

/// Publishes what is still held, then tree and summary: whatever happened before, what was
/// captured is told.
Result<> conclude(monitor::Session& session, EventOutputs& outputs);

/// What runs the VM, and what cannot be seen of it: "kvm-stealth (4 places in the kernel, ...)".
[[nodiscard]] std::string words_of(const hypervisor::Capabilities& capabilities);

/// "glasshook: qemu-tcg, Linux 6.1.0-…, 73 hooks, attached in 0.61 s" to the standard error.
void announce(monitor::Session& session, std::string_view what,
              std::chrono::steady_clock::duration attaching);

/// An id for a VM that differs from all others', and stays the same from one watch to the next:
/// made from the plugin's socket.
[[nodiscard]] std::string host_id_of(const std::filesystem::path& socket);

}  // namespace glasshook::cli
