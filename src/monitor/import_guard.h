// Watches the imports of processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/guest_address.h"
#include "behaviour/family.h"
#include "guest/linux/kernel.h"
#include "monitor/elf_imports.h"
#include "monitor/process_table.h"

namespace glasshook::monitor {

/// Looks at the processes that were heard of, a few at a time. What is wrong at two looks in a row
/// is told, once: a loader at work can make a slot look wrong for a moment. Borrows the kernel;
/// used from one thread.
class ImportGuard {
 public:
  /// Processes looked at in one go, and known at all.
  static constexpr std::size_t kAtOnce = 4, kMaxProcesses = 1024;
  /// Told of one process.
  static constexpr std::size_t kMost = 256;

  /// Processes of these platforms are looked at.
  ImportGuard(const linux_guest::LinuxKernel& kernel, std::set<behaviour::Platform> platforms)
      : kernel_(&kernel), platforms_(std::move(platforms)), elf_(kernel) {}

  void acts(const ProcessPtr& process);
  void forget(const behaviour::Process& process) { known_.erase(process.entity_id); }

  struct Found {
    ProcessPtr process;
    behaviour::Platform platform;
    behaviour::ReplacedImport import;
  };
  /// Looks at those that acted and were not looked at for the longest time.
  [[nodiscard]] std::vector<Found> look();

 private:
  using Slot = std::pair<std::uint64_t, std::uint64_t>;  ///< where it is and where it leads
  struct Known {
    ProcessPtr process;
    bool acted = false;
    std::uint64_t looked = 0;  ///< number of the last look at it
    std::set<Slot> wrong, told;
  };

  void look_at(Known& known, std::vector<Found>& found);

  const linux_guest::LinuxKernel* kernel_;
  std::set<behaviour::Platform> platforms_;
  ElfImports elf_;
  std::uint64_t looks_ = 0;
  ProcessPtr last_;                     ///< that acted
  std::map<std::string, Known> known_;  ///< by entity id
};

}  // namespace glasshook::monitor
