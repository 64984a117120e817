// Guest RAM as it would be without the breakpoint instructions that the probe put into it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "hypervisor/probe/shared_region.h"
#include "memory/physical_memory.h"

namespace glasshook::hypervisor {

/// What is read is what lies there, but for bytes that the probe says it replaced and that are
/// breakpoint instructions still: what the guest writes over those is seen. view() and populated()
/// are those of the memory below. Borrows it.
class UnpatchedMemory final : public PhysicalMemory {
 public:
  UnpatchedMemory(const PhysicalMemory& memory, probe::SharedRegion region)
      : memory_(memory), region_(region) {}

  [[nodiscard]] bool read(Gpa from, std::span<std::byte> out) const noexcept override;
  [[nodiscard]] std::vector<PhysicalExtent> populated() const override {
    return memory_.populated();
  }
  [[nodiscard]] std::span<const std::byte> view(Gpa from,
                                                std::uint64_t size) const noexcept override {
    return memory_.view(from, size);
  }

 private:
  /// Ascending; with what was there.
  using Patches = std::vector<std::pair<Gpa, std::byte>>;

  [[nodiscard]] std::shared_ptr<const Patches> patches(std::uint32_t changes) const;

  const PhysicalMemory& memory_;
  probe::SharedRegion region_;
  mutable std::mutex mutex_;
  mutable std::uint32_t seen_changes_ = 0;
  mutable std::shared_ptr<const Patches> seen_ = std::make_shared<const Patches>();
};

}  // namespace glasshook::hypervisor
