// Hooks added to and removed from a running session, by lines that the user writes (--commands).
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/event_outputs.h"
#include "monitor/session.h"

namespace glasshook::cli {

/// Reads lines `+API` and `-API`, without waiting for any. What became of each is told on the
/// standard error; none ends the session.
class HookCommands {
 public:
  /// `file` is a file or FIFO; "-": the standard input. A FIFO may be opened and closed by writers
  /// as often as they like.
  [[nodiscard]] static Result<HookCommands> open(const std::string& file, bool quiet);

  /// Carries out the lines that are there by now. What was captured before an answer has gone out
  /// through `outputs` when the answer is told.
  void apply(monitor::Session& session, EventOutputs& outputs);

 private:
  HookCommands() = default;
  void carry_out(std::string_view line, monitor::Session& session, EventOutputs& outputs) const;

  UniqueFd fd_;  ///< empty for the standard input
  bool standard_input_ = false;
  bool ended_ = false;
  bool quiet_ = false;
  std::string pending_;  ///< a line that is not complete yet
};

}  // namespace glasshook::cli
