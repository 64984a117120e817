// Finds code of programs to hook where the hypervisor does not ask about it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "guest/linux/kernel.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/page_cache.h"
#include "hypervisor/hypervisor.h"
#include "monitor/code_hooks.h"
#include "monitor/module_oracle.h"

namespace glasshook::monitor {

/// Knows the files that processes run code from, and hooks those pages of theirs that the page
/// cache holds, for all processes at once. It hears of new files and of pages that come in by hooks
/// on the kernel (code_hooks.h), after the fact: what a library does in its first
/// milliseconds in memory may be missed. Used from one thread.
class ModuleFinder {
 public:
  using Clock = std::chrono::steady_clock;
  using FilePlan = ModuleOracle::FilePlan;
  /// What to watch in a file: ModuleOracle::plan_file().
  using PlanFile = std::function<FilePlan(Gva mapping, Gva file)>;
  /// Hooks a page: HookSet::place_program_page().
  using PlacePage = std::function<Result<>(Gpa page, const hypervisor::PageSites& sites)>;

  /// Both are borrowed. `unsupported` when this kernel's page cache has an unknown layout.
  [[nodiscard]] static Result<ModuleFinder> create(hypervisor::Hypervisor& hypervisor,
                                                   const linux_guest::LinuxKernel& kernel,
                                                   PlanFile plan_file, PlacePage place_page);

  /// Takes in what processes have mapped already, plans everything anew, and hooks it.
  Result<> look_around();
  /// A process has mapped a file (struct file, its struct address_space) for execution.
  void on_mapping(Gva file, Gva mapping);
  /// A page of some code has to be read in.
  void on_page_in() { busy_until_ = Clock::now() + kBusy; }
  /// Hooks what has come, and lets go of what the page cache has dropped; when it is time.
  Result<> look();
  /// Mappings of files that were not looked at: too many.
  [[nodiscard]] std::uint64_t unresolved() const { return unresolved_; }
  /// When look() wants to be called next.
  [[nodiscard]] std::chrono::milliseconds until_next_look() const;

 private:
  /// Files that are kept in mind, with or without anything to watch in them.
  static constexpr std::size_t kMaxFiles = 16'384;
  /// Code that is wanted but not there is looked for this often: while some comes in, and else.
  static constexpr std::chrono::milliseconds kOften{2}, kSeldom{50};
  static constexpr std::chrono::milliseconds kBusy{1000};

  struct HookedPage {
    Gpa where;
    hypervisor::PageSites sites;
  };
  struct File {
    Gva file;  ///< a struct file that showed it
    linux_guest::InodeId inode;
    FilePlan plan;
    std::map<std::uint64_t, HookedPage> placed;  ///< by number in the file

    [[nodiscard]] bool matters() const {
      return !plan.complete || !plan.pages.empty() || !placed.empty();
    }
  };

  ModuleFinder(hypervisor::Hypervisor& hypervisor, const linux_guest::LinuxKernel& kernel,
               PlanFile plan_file, PlacePage place_page, linux_guest::PageCache cache)
      : hypervisor_(&hypervisor),
        kernel_(&kernel),
        plan_file_(std::move(plan_file)),
        place_page_(std::move(place_page)),
        cache_(cache) {}

  [[nodiscard]] linux_guest::InodeId inode_of(Gva mapping) const;
  /// Takes hooks from pages where code of that file does not lie any more.
  Result<> let_go(Gva mapping, File& file);
  /// Hooks the pages that are there and are not hooked.
  Result<> place(Gva mapping, File& file);

  hypervisor::Hypervisor* hypervisor_;
  const linux_guest::LinuxKernel* kernel_;
  PlanFile plan_file_;
  PlacePage place_page_;
  linux_guest::PageCache cache_;
  std::map<Gva, File> files_;  ///< by struct address_space
  bool changed_ = false;       ///< since the last commit
  std::uint64_t unresolved_ = 0;
  Clock::time_point looked_, busy_until_;
};

}  // namespace glasshook::monitor
