// Watches over the kernel itself: its tables and code, and that nothing is hidden in it.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guest_address.h"
#include "behaviour/family.h"
#include "guest/linux/dispatch_tables.h"
#include "guest/linux/kernel.h"
#include "guest/linux/kernel_code.h"
#include "guest/linux/modules.h"
#include "hypervisor/hypervisor.h"
#include "monitor/process_table.h"

namespace glasshook::monitor {

/// Compares what the kernel holds with what it held. Looks are taken at moments when all records
/// made before the look before last began have been heard of (see Session), so what was heard and
/// what is read fit together. Borrows its arguments; used from one thread.
class KernelGuard {
 public:
  /// At most so many things of a kind are told at one look.
  static constexpr std::size_t kMost = 64;

  /// The process with an id, for events; asked only for what is told.
  using ProcessOf = std::function<ProcessPtr(std::uint32_t pid, Gva task)>;

  /// `hears_of_patches`: code_patched() is called; without that code is not compared.
  KernelGuard(const linux_guest::LinuxKernel& kernel, const hypervisor::KernelEntries& entries,
              bool hears_of_patches, ProcessOf process_of);

  /// Somebody acts: a record says so.
  void acts(const Actor& actor);
  void code_patched(Gva address, std::uint64_t length) {
    if (code_) code_->patched(address, length);
  }
  void module_loaded(Gva module) { note_module(module); }
  /// The record of EntriesHook: where a processor enters the kernel. Gives what was not told yet.
  [[nodiscard]] std::vector<behaviour::KernelTampering> entered(Gva lstar, Gva idt,
                                                                std::uint64_t cpu);

  /// What changed since the last look. `hooked`: functions whose pages are compared every time;
  /// of the other code a part is.
  [[nodiscard]] std::vector<behaviour::KernelTampering> look(std::span<const Gva> hooked);
  /// The last ones, twice in a row: all tables and all code, but no lists, which need time between
  /// looks.
  [[nodiscard]] std::vector<behaviour::KernelTampering> look_for_the_last_time();

 private:
  using Found = std::vector<behaviour::KernelTampering>;

  /// A process by its id and the start of its first thread.
  struct Key {
    std::uint32_t pid = 0;
    std::uint64_t start_time = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Suspect {
    std::uint64_t first = 0, last = 0;  ///< looks
    Gva task;
  };

  void compare_tables(Found& found);
  void compare_code(std::span<const Gva> hooked, std::size_t pages, Found& found);
  void compare_processes(Found& found);
  void find_runners(const std::map<std::uint32_t, Gva>& listed, Found& found);
  void compare_modules(Found& found);
  void note_module(Gva module);
  /// True when this was so for kAgreement looks in a row; `looks` counts them.
  [[nodiscard]] bool is_settled(std::map<std::uint32_t, std::uint64_t>& looks,
                                std::uint32_t pid) const;
  void tell_process(std::uint32_t pid, Gva task, std::vector<std::string> missing, Found& found);
  [[nodiscard]] std::string place(Gva address) const;

  const linux_guest::LinuxKernel* kernel_;
  hypervisor::KernelEntries entries_;
  ProcessOf process_of_;
  std::set<std::pair<std::string_view, Gva>> told_entries_;
  std::vector<linux_guest::DispatchTable> tables_;
  std::optional<linux_guest::KernelCode> code_;
  std::uint64_t look_ = 0;

  std::map<Key, Gva> acted_;  ///< since the last look
  Key last_actor_;
  std::map<Key, Suspect> suspects_;                               ///< act, and are in no list
  std::map<std::uint32_t, std::uint64_t> unlisted_, unnumbered_;  ///< since which look
  std::set<std::uint32_t> told_processes_;

  std::map<Gva, std::string> modules_;         ///< that were seen, with their names
  std::map<Gva, std::uint64_t> lost_modules_;  ///< not in the list since which look
  std::set<Gva> told_modules_;
};

}  // namespace glasshook::monitor
