// The guest's own account of processes and code, in the words of events.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "behaviour/event.h"
#include "behaviour/family.h"
#include "guest/linux/kernel.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/process.h"

namespace glasshook::monitor {

/// A process and who started it.
struct SeenProcess {
  behaviour::Process process;
  std::uint32_t parent_pid = 0;
};

/// Which part of the system a shared object is, by its file name.
[[nodiscard]] behaviour::CodeOrigin origin_of_module(std::string_view path,
                                                     std::string_view executable);

/// Reads from guest memory as it is now. Used from one thread; borrows the kernel.
class GuestView {
 public:
  explicit GuestView(const linux_guest::LinuxKernel& kernel) : kernel_(&kernel) {}

  /// The process a task belongs to; empty when there is no task at that address.
  [[nodiscard]] std::optional<behaviour::Process> process(std::uint64_t task) const;
  /// All processes, oldest first.
  [[nodiscard]] Result<std::vector<SeenProcess>> all() const;

  /// What kind of code lies at a user address of a process. Answers are remembered by the mapping
  /// until forget() is called for that process.
  [[nodiscard]] behaviour::CodePlace code_at(std::uint64_t task, const behaviour::Process& process,
                                             std::uint64_t address);
  void forget(const behaviour::Process& process) { code_.erase(process.entity_id); }

 private:
  static constexpr std::size_t kMaxProcesses = 8192;
  static constexpr std::size_t kMaxAreas = 256;
  struct Area {
    std::uint64_t end = 0;
    behaviour::CodePlace place;
  };

  const linux_guest::LinuxKernel* kernel_;
  std::map<std::string, std::map<std::uint64_t, Area>> code_;  ///< entity id, area start
};

}  // namespace glasshook::monitor
