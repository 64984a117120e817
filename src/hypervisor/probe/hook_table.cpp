#include "hypervisor/probe/hook_table.h"

namespace glasshook::hypervisor::probe {

Result<> HookTable::load(HookPrograms hook) {
  if (hook.id.value >= kMaxHooks)
    return fail(ErrorCode::limit, "hook {} is beyond the {} a probe holds", hook.id.value,
                kMaxHooks);
  const std::lock_guard lock(mutex_);
  HookSlot* existing = slots_[hook.id.value].load(std::memory_order_relaxed);
  if (existing != nullptr && existing->active)
    return fail(ErrorCode::invalid_argument, "hook {} is loaded already", hook.id.value);
  auto slot = std::make_unique<HookSlot>();
  slot->id = hook.id;
  slot->entry = std::move(hook.entry);
  slot->on_return = std::move(hook.on_return);
  slots_[hook.id.value].store(slot.get(), std::memory_order_release);
  owned_.push_back(std::move(slot));
  return {};
}

Result<> HookTable::unload(HookId id) {
  HookSlot* slot = find(id);
  if (slot == nullptr) return fail(ErrorCode::not_found, "hook {} is not loaded", id.value);
  slot->active.store(false, std::memory_order_relaxed);
  return {};
}

void HookTable::unload_all() {
  const std::lock_guard lock(mutex_);
  for (auto& slot : owned_) slot->active.store(false, std::memory_order_relaxed);
}

}  // namespace glasshook::hypervisor::probe
