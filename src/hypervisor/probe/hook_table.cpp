#include "hypervisor/probe/hook_table.h"

#include <utility>

namespace glasshook::hypervisor::probe {

Result<> HookTable::load(const HookPrograms& hook) {
  if (hook.id.value >= kMaxHooks)
    return fail(ErrorCode::limit, "hook {} is beyond the {} a probe holds", hook.id.value,
                kMaxHooks);
  const std::lock_guard lock(mutex_);
  if (slots_[hook.id.value] != nullptr)
    return fail(ErrorCode::invalid_argument, "hook {} is loaded already", hook.id.value);
  auto slot = std::make_shared<HookSlot>();
  slot->id = hook.id;
  slot->entry = capture::Executable(hook.entry);
  if (hook.on_return) slot->on_return.emplace(*hook.on_return);
  slot->uncovers = hook.uncovers;
  slots_[hook.id.value] = std::move(slot);
  return {};
}

Result<> HookTable::unload(HookId id) {
  const std::lock_guard lock(mutex_);
  if (id.value >= kMaxHooks || slots_[id.value] == nullptr)
    return fail(ErrorCode::not_found, "hook {} is not loaded", id.value);
  retire(slots_[id.value]);
  return {};
}

void HookTable::unload_all() {
  const std::lock_guard lock(mutex_);
  for (auto& slot : slots_)
    if (slot != nullptr) retire(slot);
}

void HookTable::retire(std::shared_ptr<HookSlot>& slot) {
  slot->active.store(false, std::memory_order_relaxed);
  retired_.push_back(std::exchange(slot, nullptr));
}

std::shared_ptr<HookSlot> HookTable::find(HookId id) const {
  const std::lock_guard lock(mutex_);
  return id.value < kMaxHooks ? slots_[id.value] : nullptr;
}

bool HookTable::has_retired() const {
  const std::lock_guard lock(mutex_);
  return !retired_.empty();
}

void HookTable::collect() {
  const std::lock_guard lock(mutex_);
  retired_.clear();
}

}  // namespace glasshook::hypervisor::probe
