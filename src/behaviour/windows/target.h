// The process that a Windows call does something to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "behaviour/windows/objects.h"

namespace glasshook::behaviour::windows {

/// Another process than the caller's.
struct Target {
  std::uint32_t win32_id = 0;  ///< 0: unknown
  std::string image;           ///< path, when the handle's maker told it
  std::uint64_t handle = 0;
};

/// The process behind a handle of the caller; nothing when that is the caller itself.
[[nodiscard]] std::optional<Target> other_process(const UserCall& call, const Objects& objects,
                                                  std::uint64_t process_handle);

/// Which process a Windows thread belongs to, from the calls that threads make. Bounded: begins
/// anew when there are too many.
class ThreadOwners {
 public:
  void see(const UserCall& call) { put(call.win32_thread_id, call.win32_process_id); }
  void put(std::uint32_t thread, std::uint32_t process);
  /// Its Win32 process id; 0 when unknown.
  [[nodiscard]] std::uint32_t find(std::uint32_t thread) const;

 private:
  static constexpr std::size_t kMostThreads = 100'000;

  std::unordered_map<std::uint32_t, std::uint32_t> processes_;
};

/// The process of the thread behind a handle of the caller; nothing when that is the caller itself,
/// or unknown.
[[nodiscard]] std::optional<Target> other_thread(const UserCall& call, const Objects& objects,
                                                 const ThreadOwners& owners,
                                                 std::uint64_t thread_handle);

/// CreateProcessInternalW tells which process the handles stand for that NtCreateUserProcess made.
/// Gives the new process.
Target note_created_process(const UserCall& call, Objects& objects);

/// `glasshook.target.*`, or `glasshook.handle.*` when it is unknown.
void add_target(Event& event, const Objects& objects, const Target& target);
/// The names of an argument's bits, or its word in hex.
[[nodiscard]] std::string named(const UserCall& call, std::string_view parameter);
/// "thread", "key"; empty for what is unknown.
[[nodiscard]] std::string_view name_of(ObjectKind kind);
/// "x.exe" of `C:\x.exe`.
[[nodiscard]] std::string file_part(std::string_view path);

}  // namespace glasshook::behaviour::windows
