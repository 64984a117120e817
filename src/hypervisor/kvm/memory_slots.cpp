#include "hypervisor/kvm/memory_slots.h"

#include <algorithm>

namespace glasshook::hypervisor::kvm {
namespace {

/// The upper half of a slot's number is its address space: 1 is what system management mode sees.
constexpr std::uint32_t kAddressSpaceShift = 16;

}  // namespace

void MemorySlots::set(const kvm_userspace_memory_region& region) {
  if (region.slot >> kAddressSpaceShift != 0) return;
  const std::lock_guard lock(mutex_);
  if (region.memory_size == 0)
    slots_.erase(region.slot);
  else
    slots_[region.slot] = region;
}

bool MemorySlots::notes_writes(const kvm_userspace_memory_region& region,
                               const probe::RamMapping& mapping) {
  return (region.flags & KVM_MEM_LOG_DIRTY_PAGES) != 0 && region.memory_size != 0 &&
         region.userspace_addr >= mapping.begin && region.userspace_addr < mapping.end;
}

bool MemorySlots::notes_writes(const probe::RamMapping& mapping) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(slots_,
                             [&](const auto& item) { return notes_writes(item.second, mapping); });
}

std::vector<probe::RamPiece> MemorySlots::pieces(const probe::RamMapping& mapping) const {
  const std::lock_guard lock(mutex_);
  std::map<std::uint64_t, probe::RamPiece> by_distance;
  for (const auto& [number, slot] : slots_) {
    const std::uint64_t host = slot.userspace_addr;
    if (host < mapping.begin || host >= mapping.end) continue;
    const std::uint64_t size = std::min<std::uint64_t>(slot.memory_size, mapping.end - host);
    const std::uint64_t offset = host - mapping.begin + mapping.file_offset;
    const auto [it, is_new] = by_distance.try_emplace(
        slot.guest_phys_addr - host, probe::RamPiece{slot.guest_phys_addr, size, offset});
    if (is_new) continue;
    probe::RamPiece& piece = it->second;
    const std::uint64_t end =
        std::max(piece.gpa + piece.size, std::uint64_t{slot.guest_phys_addr} + size);
    if (slot.guest_phys_addr < piece.gpa) {
      piece.gpa = slot.guest_phys_addr;
      piece.file_offset = offset;
    }
    piece.size = end - piece.gpa;
  }
  std::vector<probe::RamPiece> pieces;
  for (const auto& [distance, piece] : by_distance) pieces.push_back(piece);
  std::ranges::sort(pieces, {}, &probe::RamPiece::gpa);
  return pieces;
}

}  // namespace glasshook::hypervisor::kvm
