// Where a command's events go, as its options say.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/guest_apis.h"
#include "base/result.h"
#include "behaviour/actions.h"
#include "cli/watch_options.h"
#include "output/output.h"

namespace glasshook::cli {

/// The outputs of one session. Text for people goes to the standard error, so that the standard
/// output stays the guest command's, or that of `--json -`.
class EventOutputs {
 public:
  enum class Live { text, trace };  ///< behaviours as lines, or calls as strace shows them

  /// Creates the files at once, so that a wrong name is told before anything is started.
  /// What `apis` names is borrowed.
  [[nodiscard]] static Result<EventOutputs> open(const WatchOptions& options, Live live,
                                                 ColorMode color, const api::GuestApis& apis);

  /// What times in the text are counted from.
  enum class Start { now, first_event };
  /// Call once, before the first write().
  void begin(const std::string& host_id, Start start = Start::now);
  /// Takes an event; a failure is kept and ends the output.
  void write(const behaviour::Event& event);
  void flush();
  /// The end of all files, then tree and summary; with --quiet the summary is shown only when
  /// something was lost. The first failure there was.
  Result<> finish(const output::Summary& summary);

  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  /// Whether the standard output is taken by JSON Lines.
  [[nodiscard]] bool uses_stdout() const { return json_to_stdout_; }

 private:
  EventOutputs() = default;
  [[nodiscard]] output::TreeOptions tree_options() const;
  void begin_text(std::chrono::system_clock::time_point start);
  /// Whether --show lets it through.
  [[nodiscard]] bool is_shown(const behaviour::Event& event) const;
  void keep(const Result<>& result);

  WatchOptions options_;
  Live live_ = Live::text;
  bool color_ = false;
  bool json_to_stdout_ = false;
  bool awaits_first_event_ = false;
  std::optional<api::GuestApis> apis_;
  std::optional<output::LineSink> json_;
  behaviour::Weight least_shown_ = behaviour::Weight::routine;
  std::unique_ptr<output::Output> text_;
  std::vector<std::unique_ptr<output::Output>> outputs_;  ///< the others
  std::optional<Error> failure_;
};

}  // namespace glasshook::cli
