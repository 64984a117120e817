// Answers "what is to be hooked on this page of user code?" while a vCPU waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "api/guest_apis.h"
#include "guest/elf/elf_module.h"
#include "guest/linux/code_page.h"
#include "guest/linux/page_cache.h"
#include "hook/calling_convention.h"
#include "hook/compiler.h"
#include "hook/module_plan.h"
#include "hook/selector.h"
#include "hypervisor/hypervisor.h"
#include "monitor/hook_set.h"
#include "monitor/pe_modules.h"

namespace glasshook::monitor {

/// Knows the modules of all processes by the file they come from, and the hooks the user wants in
/// them. A module's hooks are compiled and loaded when its first page is asked about, so they are
/// in place before its first call. answer() runs on the backend's thread, one call at a time.
class ModuleOracle {
 public:
  /// Rate limiter for a hook with these options, if it has one.
  using LimiterOf = std::function<std::optional<std::uint32_t>(const hook::WatchOptions&)>;

  struct Options {
    hook::Selection selection;     ///< what the user named
    bool report_unbacked = false;  ///< note code that belongs to no file
    LimiterOf limiter_of;
  };

  /// Everything is borrowed and outlives the oracle.
  ModuleOracle(hypervisor::Hypervisor& hypervisor, const linux_guest::LinuxKernel& kernel,
               const api::GuestApis& apis, const hook::Target& target, HookSet& hooks,
               Options options);

  /// Takes in the Windows modules that processes have mapped already. Once, before any question.
  void look_around();
  [[nodiscard]] hypervisor::PageSites answer(const hypervisor::PageQuestion& question);
  /// True once after earlier answers were found to lack sites: all pages must be asked about again.
  [[nodiscard]] bool take_stale() { return windows_ && windows_->take_stale(); }

  /// What may be missed in Windows modules, for people.
  [[nodiscard]] std::vector<std::string> notes() const {
    return windows_ ? windows_->notes() : std::vector<std::string>{};
  }
  /// Pages whose module could not be read.
  [[nodiscard]] std::uint64_t unresolved() const {
    return unresolved_ + (windows_ ? windows_->unresolved() : 0);
  }

 private:
  static constexpr std::size_t kMaxModules = 4096;

  /// One file that code runs from.
  struct Module {
    hook::ModulePlan plan;     ///< of an ELF module; empty when nothing in modules is wanted
    bool memory_only = false;  ///< no directory holds it
  };

  const Module& module_of(const linux_guest::CodePage& page, Gva task);
  [[nodiscard]] hook::ModulePlan make_plan(const linux_guest::CodePage& page,
                                           const std::string& path);
  std::optional<hypervisor::HookId> make_hook(const hook::ModuleFunction& function, hook::Abi abi);
  [[nodiscard]] bool wants_modules() const;

  hypervisor::Hypervisor* hypervisor_;
  const linux_guest::LinuxKernel* kernel_;
  api::GuestApis apis_;
  const hook::Target* target_;
  HookSet* hooks_;
  Options options_;
  std::optional<linux_guest::PageCache> cache_;
  std::map<FileKey, Module> modules_;
  std::unique_ptr<PeModules> windows_;  ///< null when nothing in modules is wanted
  std::deque<api::Signature> made_up_;  ///< of exports nobody described; keep their address
  std::atomic<std::uint64_t> unresolved_{0};
};

}  // namespace glasshook::monitor
