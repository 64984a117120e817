// Finds a Linux kernel in guest RAM: symbols, types, page tables. No symbol file, no agent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest/linux/kallsyms.h"
#include "memory/physical_memory.h"

namespace glasshook::linux_guest {

/// Where a running kernel lies. Plain values: store them, and give them back after a restore of
/// the same snapshot to skip the scan. Every reboot moves the kernel (KASLR).
struct KernelLocation {
  KallsymsTables kallsyms;
  std::uint64_t image_delta = 0;  ///< virtual minus physical address of the kernel image
  AddressSpace space;             ///< the kernel's own page tables (init_top_pgt)
  Gpa btf;                        ///< start of the BTF blob
  std::uint32_t btf_size = 0;     ///< bytes; 0 when the kernel has none

  bool operator==(const KernelLocation&) const = default;
};

/// A kernel whose symbols were decoded and whose page tables map its banner.
struct FoundKernel {
  KernelLocation location;
  std::vector<Symbol> symbols;
  std::string banner;  ///< "Linux version 6.1.0-... (...) ...", without the line end
};

/// Scans guest memory. Give `running`, page tables some vCPU uses, when they are known: then only
/// what they map as kernel image is scanned, which is faster and cannot be misled by a program in
/// the guest or by what an earlier boot left in RAM. Without them all populated RAM is scanned.
/// Fails with not_found when no kernel with kallsyms is there (not booted yet, no Linux, or built
/// without CONFIG_KALLSYMS_ALL).
[[nodiscard]] Result<FoundKernel> find_kernel(const PhysicalMemory& memory,
                                              std::optional<AddressSpace> running = {});

/// Reads a kernel from where it was found before. Everything is checked as if it were new.
[[nodiscard]] Result<FoundKernel> open_kernel(const PhysicalMemory& memory,
                                              const KernelLocation& location);

}  // namespace glasshook::linux_guest
