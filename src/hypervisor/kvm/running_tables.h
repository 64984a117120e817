// The page tables that a vCPU uses, found as its kernel finds them.
#pragma once

#include <cstring>
#include <optional>

#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/guest_memory.h"

namespace glasshook::hypervisor::kvm {

/// KVM brings CR3 only together with all segments and control registers, which it collects one by
/// one; the kernel has it in three steps. Where the structures lie is remembered: their addresses
/// mean the same as long as the kernel runs. One object a vCPU.
class RunningTables {
 public:
  /// The root that the running process has by the kernel's structures; none while it is a kernel
  /// thread, or when these lie where nothing is.
  std::optional<Gpa> root(const GuestRam& ram, AddressSpace kernel, std::uint64_t kernel_gs,
                          const ProcessTables& process) {
    const auto task = current_.load(ram, kernel, Gva{kernel_gs} + process.current_task);
    if (!task) return std::nullopt;
    const auto mm = mm_.load(ram, kernel, Gva{*task} + process.mm);
    if (!mm || *mm == 0) return std::nullopt;
    const auto pgd = pgd_.load(ram, kernel, Gva{*mm} + process.pgd);
    if (!pgd || Gva{*pgd}.page_offset() != 0) return std::nullopt;
    return tables_.find(ram, kernel, Gva{*pgd}) ? std::optional(tables_.place) : std::nullopt;
  }

 private:
  struct Remembered {
    Gva address;
    Gpa place;

    bool find(const GuestRam& ram, AddressSpace kernel, Gva at) {
      if (address == at) return true;
      const Located found = locate(ram, kernel, at);
      if (found.host == nullptr) return false;
      address = at;
      place = found.gpa;
      return true;
    }
    /// A pointer of the kernel's, which lies on one page.
    std::optional<std::uint64_t> load(const GuestRam& ram, AddressSpace kernel, Gva at) {
      std::uint64_t value = 0;
      if (!find(ram, kernel, at)) return std::nullopt;
      const std::byte* host = ram.at(place, sizeof value);
      if (host == nullptr) return std::nullopt;
      std::memcpy(&value, host, sizeof value);
      return value;
    }
  };

  Remembered current_, mm_, pgd_, tables_;
};

}  // namespace glasshook::hypervisor::kvm
