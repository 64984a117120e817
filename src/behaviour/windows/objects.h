// What the handles of Windows processes stand for, from the calls that make, copy and close them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "behaviour/family.h"

namespace glasshook::behaviour::windows {

using Time = std::chrono::system_clock::time_point;

enum class ObjectKind : std::uint8_t {
  unknown,
  file,  ///< on a drive or a share; directories too
  pipe,
  mailslot,
  device,
  key,
  process,
  thread,
  section,
  mutex,
  event,
  semaphore,
  timer,
  job,
  token,
  port,
  directory,  ///< of the object manager
};

/// An object that handles stand for: not the file on disk but one open of it, as in Windows.
struct Object {
  std::uint64_t id = 0;  ///< of no other object of the session
  ObjectKind kind = ObjectKind::unknown;
  std::string name;              ///< `C:\x`, `HKLM\Software\x`, the name of a mutex; may be empty
  bool unresolved = false;       ///< it is not known what it is, or in what its name begins
  bool truncated = false;        ///< the name was longer than was captured
  bool directory = false;        ///< of a file: opened as a directory
  std::uint32_t process_id = 0;  ///< Win32; of processes and threads, 0 when unknown
  std::uint32_t thread_id = 0;   ///< Win32; of threads
  std::uint32_t handles = 0;     ///< to it, in all processes
};
using ObjectPtr = std::shared_ptr<Object>;

/// Who let go of an object.
struct Closing {
  std::shared_ptr<const Process> process;
  std::uint32_t thread_id = 0;
  Time time;
};

/// A name in OBJECT_ATTRIBUTES, or in a structure made like it.
struct NameRequest {
  std::uint64_t root = 0;  ///< handle; 0: none
  std::string name;        ///< UTF-8
  bool truncated = false;
};
/// That of a parameter of type OBJECT_ATTRIBUTES*.
[[nodiscard]] NameRequest name_request(const UserCall& call, std::string_view parameter);

/// The handle tables of all Windows processes. Families share one; each passes on what it gets
/// before it looks at it. A handle whose making was not seen (before the watching began, in the
/// Unix half of Wine, in a call that was lost) is unresolved; it is never guessed.
///
/// Memory is bounded: handles beyond kMostHandles, and processes beyond kMostProcesses, are not
/// followed and stay unresolved.
class Objects {
 public:
  static constexpr std::size_t kMostHandles = 500'000;
  static constexpr std::size_t kMostProcesses = 10'000;
  using OnClosed = std::function<void(const Object&, const Closing&, Context&)>;

  /// The calls it has to see for files and keys. Handles of other kinds are followed as far as
  /// families ask for the functions that make them (NtCreateMutant, NtOpenProcess, ...).
  [[nodiscard]] static std::vector<WantedApi> apis();

  /// The same call may be passed several times in a row.
  void see_entered(const UserCall& call);
  void see(const UserCall& call, Context& context);
  /// The process is gone, and its handles.
  void process_exited(const std::shared_ptr<const Process>& process, Time now, Context& context);

  /// What a handle of the calling process stands for; null when that is unknown.
  [[nodiscard]] ObjectPtr find(const UserCall& call, std::uint64_t handle) const;
  /// The same, but what is unknown gets an object of its own, unresolved, until it is closed.
  [[nodiscard]] ObjectPtr find_or_unknown(const UserCall& call, std::uint64_t handle);
  /// What a name stands for to the calling process, as an object that is not made.
  [[nodiscard]] Object resolve(const UserCall& call, ObjectKind kind,
                               const NameRequest& request) const;
  /// The process that Windows programs know by that id; null when none was seen.
  [[nodiscard]] std::shared_ptr<const Process> process_by_win32_id(std::uint32_t id) const;

  /// `listener` is called when the last handle of an object is closed, until `owner` is done.
  void on_closed(const void* owner, OnClosed listener) { listeners_[owner] = std::move(listener); }
  void done(const void* owner) { listeners_.erase(owner); }

  [[nodiscard]] std::size_t handles() const { return handle_count_; }

 private:
  struct Handle {
    ObjectPtr object;
    Time made;
    bool inheritable = false;
  };
  using Table = std::unordered_map<std::uint64_t, Handle>;
  struct Owner {
    std::shared_ptr<const Process> image;
    Table table;
    std::uint32_t win32_process_id = 0;
  };
  /// A process under construction: what its child inherits.
  struct Creation {
    std::uint64_t call = 0;
    Table inherited;
  };

  Owner* owner_of(const std::shared_ptr<const Process>& process, std::uint32_t win32_id);
  [[nodiscard]] const Owner* known_owner(const Process* process) const;
  void inherit(const Process& process, Owner& owner);
  [[nodiscard]] static bool inherit_the_same(const std::vector<Creation>& creations);
  void put(Owner& owner, std::uint64_t handle, Handle made, const Closing& closing,
           Context& context);
  void release(Handle handle, const Closing& closing, Context& context);
  void drop_all(Owner& owner, const Closing& closing, Context& context);

  void made(const UserCall& call, std::string_view parameter, Object object, Context& context);
  void closed(const UserCall& call, Context& context);
  void duplicated(const UserCall& call, Context& context);
  void information_set(const UserCall& call);
  void process_created(const UserCall& call, Context& context);
  /// The table that a process handle of the caller stands for; null when unknown.
  Owner* table_behind(const UserCall& call, std::uint64_t process_handle);

  std::map<std::string, Owner> owners_;  ///< by entity id
  std::unordered_map<std::uint32_t, std::string> by_win32_id_;
  std::map<std::string, std::vector<Creation>> creations_;  ///< by entity id of the parent
  std::map<const void*, OnClosed> listeners_;               ///< by owner
  std::uint64_t next_id_ = 1;
  std::size_t handle_count_ = 0;
  std::uint64_t last_seen_ = ~std::uint64_t{0}, last_entered_ = ~std::uint64_t{0};
};

}  // namespace glasshook::behaviour::windows
