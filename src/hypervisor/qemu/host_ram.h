// Finds guest RAM inside the QEMU process: the mapping, the file behind it, the physical layout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hypervisor/probe/protocol.h"
#include "memory/guest_ram.h"

namespace glasshook::hypervisor::qemu {

/// RAM of this QEMU: where it is mapped, and how file offsets become guest addresses.
struct HostRam {
  GuestRam ram;
  std::vector<probe::RamPiece> pieces;
  int fd = -1;  ///< the memfd, opened again read-only; owned by the caller
};

/// Size of RAM below 4 GiB that a PC machine gets (QEMU hw/i386/pc_piix.c and pc_q35.c): the rest
/// lies above 4 GiB.
[[nodiscard]] std::uint64_t low_ram_size(std::string_view machine_type, std::uint64_t ram_size,
                                         std::optional<std::uint64_t> max_below_4g);

/// Machine type named by a QEMU command line ("pc" when it names none).
[[nodiscard]] std::string machine_type_of(const std::vector<std::string>& command_line);

/// Reads /proc/self: the largest shared memfd mapping is RAM. Fails when RAM is not shared
/// (`-object memory-backend-memfd,share=on`).
[[nodiscard]] Result<HostRam> find_host_ram();

}  // namespace glasshook::hypervisor::qemu
