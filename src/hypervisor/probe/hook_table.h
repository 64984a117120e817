// The hooks a probe knows, by number.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "capture/program.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/probe/shared_region.h"

namespace glasshook::hypervisor::probe {

/// One loaded hook. Immutable but for `active`, and never freed while the probe lives: vCPU threads
/// may hold a pointer at any time.
struct HookSlot {
  HookId id;
  capture::Program entry;
  std::optional<capture::Program> on_return;
  std::atomic<bool> active{true};
};

/// Loads and finds hooks. find() is lock-free; load() and unload() come from the control thread.
class HookTable {
 public:
  /// Stores verified programs. Fails when the id is out of range or taken.
  Result<> load(HookPrograms hook);
  Result<> unload(HookId id);
  void unload_all();

  /// The hook, or nullptr when that id was never loaded.
  [[nodiscard]] HookSlot* find(HookId id) const noexcept {
    return id.value < kMaxHooks ? slots_[id.value].load(std::memory_order_acquire) : nullptr;
  }

 private:
  std::array<std::atomic<HookSlot*>, kMaxHooks> slots_{};
  std::mutex mutex_;
  std::vector<std::unique_ptr<HookSlot>> owned_;
};

}  // namespace glasshook::hypervisor::probe
