// What a behaviour module says and every output prints: one value type for text, JSON and tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace glasshook::behaviour {

/// Who acts. One object a process and executable image: exec makes a new one with the same
/// entity_id. Strings are guest bytes as they are; outputs make them safe.
struct Process {
  std::uint32_t pid = 0;            ///< thread group id in the guest's first pid namespace
  std::uint32_t namespace_pid = 0;  ///< as the process itself sees it; 0 when unknown
  std::uint64_t start_time = 0;     ///< ns since guest boot
  std::string entity_id;            ///< stable and unique: never confused by pid reuse
  std::string name;                 ///< comm
  std::string executable;           ///< path
  std::vector<std::string> arguments;
  std::uint32_t user_id = 0;  ///< real uid
  std::string container_id;   ///< from the cgroup path; empty outside containers
  std::string working_directory;
  std::shared_ptr<const Process> parent;
  bool kernel_thread = false;
};

/// A field's value. std::string holds raw guest bytes.
using Value =
    std::variant<std::uint64_t, std::int64_t, bool, std::string, std::vector<std::string>>;

/// One named field; the name is an ECS field name ("file.path") or starts with "glasshook.".
struct Field {
  std::string_view name;  ///< static storage
  Value value;
};

/// Something that happened in the guest.
struct Event {
  std::string_view action;  ///< event.action: "process_started", "file_written", "api_called", ...
  std::string_view
      category;  ///< event.category: "process", "file", "network", "configuration", ...
  std::chrono::system_clock::time_point time;
  std::uint64_t sequence = 0;              ///< event.sequence, given by the monitor, without gaps
  std::shared_ptr<const Process> process;  ///< may be null when the actor is unknown
  std::uint32_t thread_id = 0;
  std::vector<Field> fields;

  /// Value of a field, or nullptr.
  [[nodiscard]] const Value* find(std::string_view name) const {
    for (const Field& f : fields)
      if (f.name == name) return &f.value;
    return nullptr;
  }
};

}  // namespace glasshook::behaviour
