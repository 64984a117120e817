// Answers "what is to be hooked on this page of user code?" while a vCPU waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "api/catalogue.h"
#include "guest/elf/elf_module.h"
#include "guest/linux/code_page.h"
#include "guest/linux/page_cache.h"
#include "hook/compiler.h"
#include "hook/planner.h"
#include "hypervisor/hypervisor.h"
#include "monitor/hook_set.h"

namespace glasshook::monitor {

/// Knows the modules of all processes by the file they come from, and the hooks the user wants in
/// them. A module's hooks are compiled and loaded when its first page is asked about, so they are
/// in place before its first call. answer() runs on the backend's thread, one call at a time.
class ModuleOracle {
 public:
  struct Options {
    std::vector<const api::Signature*> signatures;  ///< user-mode APIs the user chose
    bool report_unbacked = false;                   ///< note code that belongs to no file
    std::optional<std::uint32_t> rate_limiter;
  };

  /// Everything is borrowed and outlives the oracle.
  ModuleOracle(hypervisor::Hypervisor& hypervisor, const linux_guest::LinuxKernel& kernel,
               const api::ApiCatalogue& catalogue, const hook::Target& target, HookSet& hooks,
               Options options);

  [[nodiscard]] hypervisor::PageSites answer(const hypervisor::PageQuestion& question);

  /// Pages whose module could not be read.
  [[nodiscard]] std::uint64_t unresolved() const { return unresolved_; }

 private:
  using FileKey = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>;  ///< device, inode
  static constexpr std::size_t kMaxModules = 4096;

  const hook::ModulePlan& plan_for(const linux_guest::CodePage& page, std::uint64_t task);
  [[nodiscard]] hook::ModulePlan make_plan(const linux_guest::CodePage& page, std::uint64_t task);
  [[nodiscard]] std::vector<const api::Signature*> wanted_in(const std::string& path) const;

  hypervisor::Hypervisor* hypervisor_;
  const linux_guest::LinuxKernel* kernel_;
  const api::ApiCatalogue* catalogue_;
  const hook::Target* target_;
  HookSet* hooks_;
  Options options_;
  std::optional<linux_guest::PageCache> cache_;
  std::map<FileKey, hook::ModulePlan> plans_;
  std::atomic<std::uint64_t> unresolved_{0};
};

}  // namespace glasshook::monitor
