// Child processes and scratch directories that clean up after themselves.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "confinement/cage.h"
#include "machine/deadline.h"

namespace glasshook::machine {

/// How a process ended.
struct ExitStatus {
  int code = 0;    ///< exit status; meaningful when signal is 0
  int signal = 0;  ///< the signal that ended it, or 0

  [[nodiscard]] bool success() const { return code == 0 && signal == 0; }
  /// "exit status 1" or "signal 9 (Killed)".
  [[nodiscard]] std::string text() const;
};

/// What to start, and what it gets.
struct ChildOptions {
  std::vector<std::string> argv;  ///< argv[0] is looked up in PATH unless it has a slash
  std::vector<int> inherit;       ///< descriptors kept open under the same number
  int stdout_fd = -1;             ///< -1: /dev/null
  std::vector<std::string> environment = {};  ///< "NAME=VALUE"; in place of ours of that name
  confinement::Cage* cage = nullptr;          ///< to be put up around it; outlives it
};

/// A running child in its own session (a terminal's Ctrl-C does not reach it). It is killed when
/// the thread that started it ends, and by the destructor. stdin is /dev/null; stderr is kept for
/// error messages.
class Child {
 public:
  [[nodiscard]] static Result<Child> start(const ChildOptions& options);
  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Readable (poll) once the child has ended.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  /// How it ended, if it has; ErrorCode::timeout at the deadline.
  Result<ExitStatus> wait(Deadline deadline);
  /// SIGKILL, then reap.
  void kill();
  /// Walls of its cage that could not be put up; none without a cage.
  [[nodiscard]] const std::vector<std::string>& missing_walls() const { return missing_walls_; }
  /// The last `limit` bytes it wrote to stderr.
  [[nodiscard]] std::string error_output(std::size_t limit = 4096) const;

 private:
  Child() = default;

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd stderr_;
  std::optional<ExitStatus> status_;
  std::vector<std::string> missing_walls_;
};

/// Runs a program to its end; its stdout, at most `limit` bytes of it. Fails when it cannot be
/// started, has not ended by the deadline, or ends with another status than 0.
[[nodiscard]] Result<std::string> run_program(const std::vector<std::string>& argv,
                                              Deadline deadline, std::size_t limit = 1 << 20);

/// Absolute path of a program in PATH (and /usr/sbin, /sbin); empty when there is none.
[[nodiscard]] std::filesystem::path find_program(std::string_view name);

/// A private (0700) directory under $XDG_RUNTIME_DIR or /tmp; deleted with all it holds.
class TempDir {
 public:
  [[nodiscard]] static Result<TempDir> create();
  /// In the first of these directories that lets it.
  [[nodiscard]] static Result<TempDir> create_in(
      const std::vector<std::filesystem::path>& directories);
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit TempDir(std::filesystem::path path) : path_(std::move(path)) {}
  void remove();

  std::filesystem::path path_;
};

/// $GLASSHOOK_CACHE, else $XDG_CACHE_HOME/glasshook, else ~/.cache/glasshook. Not created.
[[nodiscard]] std::filesystem::path cache_directory();

}  // namespace glasshook::machine
