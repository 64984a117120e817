// The page tables that a vCPU uses, found as its kernel finds them.
#pragma once

#include <cstring>

#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/guest_memory.h"

namespace glasshook::hypervisor::kvm {

/// KVM brings CR3 only together with all segments and control registers, which it collects one by
/// one; the kernel has it in three steps. Where the structures lie is remembered: their addresses
/// mean the same as long as the kernel runs. One object a vCPU.
class RunningTables {
 public:
  /// The root that the running process has by the kernel's structures. False while it is a kernel
  /// thread, or when these lie where nothing is.
  bool find_root(const GuestRam& ram, AddressSpace kernel, std::uint64_t kernel_gs,
                 const ProcessTables& process, Gpa& root) {
    std::uint64_t task = 0, mm = 0, pgd = 0;
    if (!current_.load(ram, kernel, Gva{kernel_gs} + process.current_task, task) ||
        !mm_.load(ram, kernel, Gva{task} + process.mm, mm) || mm == 0 ||
        !pgd_.load(ram, kernel, Gva{mm} + process.pgd, pgd) || Gva{pgd}.page_offset() != 0 ||
        !tables_.find(ram, kernel, Gva{pgd}))
      return false;
    root = tables_.place.gpa;
    return true;
  }

 private:
  struct Remembered {
    Gva address;
    Located place;

    bool find(const GuestRam& ram, AddressSpace kernel, Gva at) {
      return address == at || look(ram, kernel, at);
    }
    /// A pointer of the kernel's, which lies on one page.
    bool load(const GuestRam& ram, AddressSpace kernel, Gva at, std::uint64_t& value) {
      if (!find(ram, kernel, at)) return false;
      std::memcpy(&value, place.host, sizeof value);
      return true;
    }
    [[gnu::noinline]] bool look(const GuestRam& ram, AddressSpace kernel, Gva at) {
      const Located found = locate(ram, kernel, at, sizeof(std::uint64_t));
      if (found.host == nullptr) return false;
      address = at;
      place = found;
      return true;
    }
  };

  Remembered current_, mm_, pgd_, tables_;
};

}  // namespace glasshook::hypervisor::kvm
