// Guest virtual memory from within QEMU: where it is, and the stack of a vCPU.
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
  bool writable = false;
};

/// Where `size` bytes, which lie on one page, are.
[[nodiscard]] inline Located locate(const GuestRam& ram, AddressSpace space, Gva at,
                                    std::size_t size = 1) {
  const auto place = walk_page_tables(space, at, [&](Gpa entry, std::uint64_t& value) {
    const std::byte* host = ram.at(entry, sizeof value);
    if (host != nullptr) std::memcpy(&value, host, sizeof value);
    return host != nullptr;
  });
  if (!place) return {};
  // It is QEMU's mapping, which QEMU itself writes to.
  return {.gpa = place->gpa,
          .host = const_cast<std::byte*>(ram.at(place->gpa, size)),
          .writable = place->writable};
}

/// The stack of a vCPU that is at a breakpoint.
class VcpuStack final : public GuestStack {
 public:
  VcpuStack(const GuestRam& ram, AddressSpace space) : ram_(ram), space_(space) {}

  bool load(Gva from, std::uint64_t& value) override {
    const Located at = word_at(from);
    if (at.host == nullptr) return false;
    std::memcpy(&value, at.host, sizeof value);
    return true;
  }
  bool store(Gva to, std::uint64_t value) override {
    const Located at = word_at(to);
    if (at.host == nullptr || !at.writable) return false;
    std::memcpy(at.host, &value, sizeof value);
    return true;
  }

 private:
  /// The kernel's stacks are aligned: a word across two pages is left to the processor.
  [[nodiscard]] Located word_at(Gva address) const {
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    if (address.page_offset() + kWord > kPageSize) return {};
    return locate(ram_, space_, address, kWord);
  }

  const GuestRam& ram_;
  AddressSpace space_;
};

}  // namespace glasshook::hypervisor::kvm
