// Where events go: text for people, JSON Lines for programs, a process tree at the end.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "behaviour/event.h"
#include "output/line_sink.h"

namespace glasshook::output {

/// Counts of one hook over the session; see hypervisor::HookCounters for what they mean.
struct HookCounts {
  std::string name;
  std::uint64_t hits = 0;
  std::uint64_t sent = 0;
  std::uint64_t filtered = 0;
  std::uint64_t rate_limited = 0;
  std::uint64_t dropped = 0;
  std::uint64_t returned = 0;
  std::uint64_t unreturned = 0;
};

/// What was not seen, and why.
struct Losses {
  std::uint64_t dropped = 0;        ///< records lost because a ring was full
  std::uint64_t rate_limited = 0;   ///< calls left out by rate limits
  std::uint64_t unreturned = 0;     ///< calls whose return was never seen
  std::uint64_t unresolved = 0;     ///< records or names that could not be made sense of
  std::uint64_t truncated = 0;      ///< values cut at a cap
  std::uint64_t budget = 0;         ///< captures ended by their budget
  std::uint64_t page_timeouts = 0;  ///< code pages that ran unhooked
  std::uint64_t malformed = 0;      ///< records refused
  std::uint64_t late_commits = 0;   ///< changes of hooks that took effect late
  std::uint64_t overwritten = 0;    ///< places where the guest wrote over a hook
  std::uint64_t lifted = 0;         ///< times hooks were out of the guest while it was saved

  /// True when anything the user asked for may be missing from the events.
  [[nodiscard]] bool any() const {
    return (dropped | rate_limited | unresolved | truncated | budget | page_timeouts | malformed |
            late_commits | overwritten | lifted) != 0;
  }
};

/// Blocks of code that an emulator translated: those that were looked at, and those that did not
/// have to be, and run as fast as unwatched.
struct Blocks {
  std::uint64_t shown = 0, hidden = 0;
};

/// What a session came to.
struct Summary {
  std::chrono::nanoseconds duration{};
  std::uint64_t events = 0;
  std::map<std::string_view, std::uint64_t> actions;  ///< events an action; keys are static
  std::vector<HookCounts> hooks;
  std::vector<std::string> missing_hooks;  ///< asked for, but the guest lacks them: name and reason
  Losses losses;
  Blocks blocks;

  void count(const behaviour::Event& event) {
    ++events;
    ++actions[event.action];
  }
};

/// A consumer of events. Used from one thread. After an error every later call returns it again.
class Output {
 public:
  virtual ~Output() = default;

  /// Takes one event. It may be held back until flush() or finish().
  virtual Result<> write(const behaviour::Event& event) = 0;
  /// Hands everything held back to the operating system. Cheap when there is nothing.
  virtual Result<> flush() = 0;
  /// Called once, at the end; flushes.
  virtual Result<> finish(const Summary& summary) = 0;
};

struct TextOptions {
  bool color = false;
  bool wall_clock = false;  ///< time of day (UTC) instead of seconds since `start`
  std::chrono::system_clock::time_point start{};
  std::size_t max_target = 1000;  ///< characters of a target before it is cut; 0: never
};

struct JsonOptions {
  std::string host_id{};  ///< host.id; left out when empty
  std::string host_name{};
};

struct TreeOptions {
  bool color = false;
  bool show_tree = true;
  bool show_summary = true;
  bool show_hooks = false;  ///< the table of hook counters
};

/// One readable line an event.
[[nodiscard]] std::unique_ptr<Output> make_text_output(LineSink sink, TextOptions options);
/// One JSON object a line, as docs/event.schema.json says; a `session_summary` line ends it.
[[nodiscard]] std::unique_ptr<Output> make_json_output(LineSink sink, const JsonOptions& options);
/// Nothing until finish(), which prints the process tree and the summary.
[[nodiscard]] std::unique_ptr<Output> make_tree_output(LineSink sink, TreeOptions options);

}  // namespace glasshook::output
