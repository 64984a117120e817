// Gives firmware tables and devices of a saved machine the names of machine/stealth.h, where QEMU
// has no option for them. It has to be done between firmware and kernel: SeaBIOS knows QEMU by
// these names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"

namespace glasshook::machine {

/// Where a Linux kernel's 32 bit code is loaded and entered (Documentation/arch/x86/boot.rst).
inline constexpr std::uint32_t kKernelEntry = 0x100000;

/// The kernel image of the file, changed to stay at its entry, in an endless loop.
[[nodiscard]] Result<std::vector<std::uint8_t>> held_at_entry(const std::filesystem::path& bzimage);

/// Changes a machine state, saved by QEMU as a "mapped-ram" file while its kernel, one of
/// held_at_entry(), stood at its entry: lets that go on, and gives firmware and devices their
/// names. Fails when something that has a name is not there.
[[nodiscard]] Result<> disguise(std::span<std::uint8_t> state,
                                std::span<const std::uint8_t> bzimage);
/// The same for a file.
[[nodiscard]] Result<> disguise_file(const std::filesystem::path& state,
                                     const std::filesystem::path& bzimage);

}  // namespace glasshook::machine
