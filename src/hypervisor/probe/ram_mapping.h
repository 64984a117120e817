// Finds guest RAM in the process that runs the guest: a shared memfd, and how the monitor gets it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace glasshook::hypervisor::probe {

/// A mapping of the file that holds guest RAM.
struct RamMapping {
  std::uint64_t begin = 0, end = 0;  ///< host addresses
  std::uint64_t file_offset = 0;     ///< of `begin`, bytes
  std::uint64_t device = 0, inode = 0;
};

/// The largest shared mapping of a memfd of QEMU's memory backends in the text of a
/// /proc/PID/maps. Fails, with what to do, when RAM is not shared.
[[nodiscard]] Result<RamMapping> find_ram_mapping(const std::string& maps);
/// The same for this process.
[[nodiscard]] Result<RamMapping> find_ram_mapping();

/// A read-only descriptor of the mapped file, through this process's own descriptors. The caller's
/// to close.
[[nodiscard]] Result<int> open_read_only(const RamMapping& mapping);

/// Ends an OwnMapping.
struct Unmap {
  std::size_t bytes = 0;
  void operator()(std::byte* memory) const noexcept;
};
/// A mapping of guest RAM that QEMU has nothing to do with.
using OwnMapping = std::unique_ptr<std::byte, Unmap>;

/// Maps the same memory once more, to be read and written.
[[nodiscard]] Result<OwnMapping> map_again(const RamMapping& mapping);

}  // namespace glasshook::hypervisor::probe
