// The hooks a probe knows, by number.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "capture/executable.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/shared_region.h"

namespace glasshook::hypervisor::probe {

/// One loaded hook. Immutable but for `active`. It lives as long as a page names it, and at least
/// until HookTable::collect(): vCPU threads may hold a pointer until then.
struct HookSlot {
  HookId id;
  capture::Executable entry;
  std::optional<capture::Executable> on_return;
  bool uncovers = false;  ///< see HookPrograms
  std::atomic<bool> active{true};
};

/// Loads and finds hooks. Safe from all threads; load() and unload() come from the control thread.
class HookTable {
 public:
  /// Stores verified programs. Fails when the id is out of range or taken.
  Result<> load(const HookPrograms& hook);
  Result<> unload(HookId id);
  void unload_all();

  /// The hook, or nullptr when that id is not loaded.
  [[nodiscard]] std::shared_ptr<HookSlot> find(HookId id) const;

  /// True when hooks were unloaded since the last collect().
  [[nodiscard]] bool has_retired() const;
  /// Lets go of unloaded hooks. To be called while no vCPU runs code of the probe, after pending
  /// calls of such hooks are dropped.
  void collect();

 private:
  void retire(std::shared_ptr<HookSlot>& slot);

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<HookSlot>> slots_ =
      std::vector<std::shared_ptr<HookSlot>>(kMaxHooks);  ///< by id
  std::vector<std::shared_ptr<HookSlot>> retired_;
};

}  // namespace glasshook::hypervisor::probe
