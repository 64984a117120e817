// Where guest RAM lies in the process: KVM's memory slots as QEMU sets them.
#pragma once

#include <linux/kvm.h>

#include <map>
#include <mutex>
#include <vector>

#include "hypervisor/probe/protocol.h"
#include "hypervisor/probe/ram_mapping.h"

namespace glasshook::hypervisor::kvm {

/// Follows KVM_SET_USER_MEMORY_REGION. Safe from any thread.
class MemorySlots {
 public:
  /// A slot was set; one without size is gone.
  void set(const kvm_userspace_memory_region& region);

  /// Whether KVM notes which pages of that mapping the guest writes to: QEMU saves or sends them.
  [[nodiscard]] bool notes_writes(const probe::RamMapping& mapping) const;
  /// The same for one call.
  [[nodiscard]] static bool notes_writes(const kvm_userspace_memory_region& region,
                                         const probe::RamMapping& mapping);

  /// The pieces of RAM that lie in this mapping. Slots are cut where the machine shows something
  /// else (the VGA window, firmware that is shadowed); slots with one distance between guest and
  /// host address are one piece, RAM under such a window included.
  [[nodiscard]] std::vector<probe::RamPiece> pieces(const probe::RamMapping& mapping) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint32_t, kvm_userspace_memory_region> slots_;
};

}  // namespace glasshook::hypervisor::kvm
