// Answers "what is to be hooked on this page of user code?" while a vCPU waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "api/guest_apis.h"
#include "guest/linux/code_page.h"
#include "guest/linux/page_cache.h"
#include "hook/calling_convention.h"
#include "hook/compiler.h"
#include "hook/module_plan.h"
#include "hook/selector.h"
#include "hypervisor/hypervisor.h"
#include "monitor/code_changes.h"
#include "monitor/hook_set.h"
#include "monitor/known_module.h"
#include "monitor/pe_modules.h"

namespace glasshook::monitor {

/// Knows the modules of all processes by the file they come from, and the hooks the user wants in
/// them. answer() runs on the backend's thread.
class ModuleOracle {
 public:
  /// Rate limiter for a hook with these options, if it has one.
  using LimiterOf = std::function<std::optional<std::uint32_t>(const hook::WatchOptions&)>;

  struct Options {
    hook::Selection selection;     ///< what the user and behaviour families named
    bool report_unbacked = false;  ///< note code that belongs to no file, or is not the file's
    LimiterOf limiter_of;
  };

  /// Everything is borrowed and outlives the oracle.
  ModuleOracle(hypervisor::Hypervisor& hypervisor, const linux_guest::LinuxKernel& kernel,
               const api::GuestApis& apis, const hook::Target& target, HookSet& hooks,
               Options options);

  /// Takes in the Windows modules that processes have mapped already. Once, before any question.
  void look_around();
  [[nodiscard]] hypervisor::PageSites answer(const hypervisor::PageQuestion& question);

  /// What to watch in a file.
  struct FilePlan {
    std::map<std::uint64_t, hypervisor::PageSites> pages;  ///< by number in the file
    bool complete = true;  ///< false while bytes are missing that may hide functions the user wants
  };
  /// All that is to be watched in a file, as far as its page cache (struct address_space) tells.
  /// `file`: a struct file that shows it, which names it the first time. For hypervisors that do
  /// not ask.
  [[nodiscard]] FilePlan plan_file(Gva mapping, Gva file);

  /// True once after earlier answers were found to lack sites: all pages must be asked about again.
  [[nodiscard]] bool take_stale() { return windows_ && windows_->take_stale(); }

  /// How the code of a page that was reported differs from its file; nothing: it has no file. Once.
  [[nodiscard]] std::optional<behaviour::ModifiedCode> take_change(Gpa page,
                                                                   std::uint64_t content_hash) {
    return changes_.take(page, content_hash);
  }

  /// Something else is wanted from now on; pages have to be asked about again. The hooks that are
  /// not wanted any more, to be unloaded. From the thread of look_around().
  [[nodiscard]] std::vector<hypervisor::HookId> select(hook::Selection selection);

  /// What may be missed in Windows modules, for people.
  [[nodiscard]] std::vector<std::string> notes() const {
    return windows_ ? windows_->notes() : std::vector<std::string>{};
  }
  /// What may be missed now: pages and modules that could not be read, hooks that could not be
  /// made.
  [[nodiscard]] std::uint64_t unresolved() const {
    return unresolved_ + (windows_ ? windows_->unresolved() : 0);
  }

 private:
  static constexpr std::size_t kMaxModules = 4096;
  static constexpr std::size_t kMaxUnknown = 65'536;
  static constexpr std::size_t kMaxCopies = 65'536;

  /// One file that code runs from.
  struct Module {
    KnownModule known;
    std::vector<std::byte> head;  ///< its first page: an inode number can get another file
    bool memory_only = false;     ///< no directory holds it
    bool incomplete = false;      ///< counted in incomplete_modules_
  };

  /// `windows_sites`: of a page that belongs to a Windows module; else null.
  hypervisor::PageSites file_page(const linux_guest::CodePage& page, Gva task,
                                  const hypervisor::PageQuestion& question,
                                  const hypervisor::PageSites* windows_sites);
  /// True when the page is not what its file holds; then it is kept for take_change().
  bool find_change(const linux_guest::CodePage& page, const hypervisor::PageQuestion& question,
                   const Module& module, const GrowingFile& file,
                   const hypervisor::PageSites& sites);
  Module& module_of(const linux_guest::CodePage& page, Gva task,
                    const std::shared_ptr<GrowingFile>& file);
  [[nodiscard]] KnownModule::Wanted wanted() const {
    return {.selection = options_.selection, .catalogue = apis_.linux(), .make_hook = make_hook_};
  }
  void note_completeness(Module& module, bool complete);
  std::optional<hypervisor::HookId> make_hook(const hook::ModuleFunction& function, hook::Abi abi);
  std::optional<hypervisor::HookId> make_windows_hook(const hook::ModuleFunction& function);
  const api::Signature& described(const hook::ModuleFunction& function);
  /// Takes out what is not wanted any more.
  void drop_windows_hooks(std::vector<hypervisor::HookId>& dropped);
  /// Hooks follow the code of a module into memory where it was copied.
  void follow_copies(std::uint64_t content_hash, bool is_copy, hypervisor::PageSites& sites);
  void plan_windows();
  [[nodiscard]] bool wants_modules() const;
  void count();

  hypervisor::Hypervisor* hypervisor_;
  const linux_guest::LinuxKernel* kernel_;
  api::GuestApis apis_;
  const hook::Target* target_;
  HookSet* hooks_;
  Options options_;
  std::mutex mutex_;
  hook::HookMaker make_hook_;  ///< of ELF modules
  std::optional<linux_guest::PageCache> cache_;
  std::map<FileKey, Module> modules_;
  std::unique_ptr<PeModules> windows_;  ///< null when nothing in modules is wanted
  /// Hooks in Windows modules. They keep while planning anew.
  struct WindowsHook {
    hook::ModuleFunction function;
    hypervisor::HookId id;
  };
  std::multimap<std::uint64_t, WindowsHook> windows_hooks_;  ///< by RVA
  std::deque<api::Signature> made_up_;  ///< of exports nobody described; keep their address

  /// Of pages of modules, by content: what their copies in other memory get, too.
  std::unordered_map<std::uint64_t, hypervisor::PageSites> sites_of_content_;
  CodeChanges changes_;
  std::unordered_set<std::uint64_t> unknown_pages_;  ///< by content, as long as they are
  std::uint64_t incomplete_modules_ = 0;
  std::uint64_t failed_hooks_ = 0;
  std::uint64_t uncompared_ = 0;              ///< changed pages whose file is not in memory
  std::atomic<std::uint64_t> unresolved_{0};  ///< the sum
};

}  // namespace glasshook::monitor
