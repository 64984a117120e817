// Guest virtual memory from within QEMU: where it is, and what a vCPU may do to it.
#pragma once

#include <cstring>
#include <optional>
#include <utility>

#include "hypervisor/kvm/instruction.h"
#include "memory/guest_ram.h"
#include "memory/page_walk.h"

namespace glasshook::hypervisor::kvm {

/// A place in guest RAM; without a host address when there is none.
struct Located {
  Gpa gpa;
  std::byte* host = nullptr;
  bool user = false;   ///< programs may use it
  bool keyed = false;  ///< if its protection key (Intel SDM vol. 3A, 4.6.2) allows it
  bool writable = false;
  bool written = false;  ///< it has been, which the page tables know
};

[[nodiscard]] inline Located located(const GuestRam& ram, Gpa at, std::size_t size = 1) {
  // It is QEMU's mapping, which QEMU itself writes to.
  return {.gpa = at, .host = const_cast<std::byte*>(ram.at(at, size))};
}

/// Where `size` bytes, which lie on one page, are.
[[nodiscard]] inline Located locate(const GuestRam& ram, AddressSpace space, Gva at,
                                    std::size_t size = 1) {
  constexpr std::uint64_t kDirty = 1 << 6, kProtectionKey = std::uint64_t{0xf} << 59;
  std::uint64_t leaf = 0;
  const auto place = walk_page_tables(space, at, [&](Gpa entry, std::uint64_t& value) {
    const std::byte* host = ram.at(entry, sizeof value);
    if (host != nullptr) std::memcpy(&value, host, sizeof value);
    leaf = value;
    return host != nullptr;
  });
  if (!place) return {};
  Located found = located(ram, place->gpa, size);
  found.user = place->user;
  found.keyed = (leaf & kProtectionKey) != 0;
  found.writable = place->writable;
  found.written = (leaf & kDirty) != 0;
  return found;
}

/// What the instruction that a vCPU is at may read and write, as the processor would let it.
class VcpuMemory final : public GuestMemory {
 public:
  /// `program`: it is a program's instruction, not the kernel's.
  VcpuMemory(const GuestRam& ram, AddressSpace space, bool program)
      : ram_(ram), space_(space), program_(program) {}

  bool load(Gva from, std::size_t bytes, std::uint64_t& value) override {
    const Located at = find(from, bytes);
    if (at.host == nullptr) return false;
    value = 0;
    std::memcpy(&value, at.host, bytes);
    return true;
  }
  bool store(Gva to, std::uint64_t value) override {
    const Located at = find(to, sizeof value);
    // A page that is written to for the first time is noted by the processor; the kernel maps its
    // own as if they had been.
    if (at.host == nullptr || !at.writable || (program_ && !at.written)) return false;
    std::memcpy(at.host, &value, sizeof value);
    return true;
  }

 private:
  /// What lies across two pages, or has a protection key, is left to the processor.
  [[nodiscard]] Located find(Gva address, std::size_t bytes) const {
    if (bytes > sizeof(std::uint64_t) || address.page_offset() + bytes > kPageSize) return {};
    const Located at = locate(ram_, space_, address, bytes);
    return program_ && (!at.user || at.keyed) ? Located{} : at;
  }

  const GuestRam& ram_;
  AddressSpace space_;
  bool program_;
};

}  // namespace glasshook::hypervisor::kvm
