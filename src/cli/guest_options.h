// Options that say which guest to start.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command_builder.h"
#include "machine/guest.h"

namespace glasshook::cli {

/// As the user wrote them.
struct GuestOptions {
  std::string guest = "linux";
  std::string image, kernel, initrd, append;
  std::string accelerator = "auto";
  std::string memory;                ///< empty: what is usual
  std::optional<std::uint32_t> smp;  ///< none: what is usual
  bool stealth = false;
  bool cold_boot = false;
  std::vector<std::string> copies;
  std::string directory;  ///< empty: the guest's own choice
  std::vector<std::string> environment;
  std::string console;
};

void add_guest_options(CommandBuilder command, GuestOptions& options);

/// What a session needs of the machine that runs the guest.
struct MachineNeeds {
  bool user_code = false;   ///< functions of programs and libraries are named
  bool few_places = false;  ///< no more of the kernel than breakpoints of a processor can hook
  bool broad = false;       ///< the user asks for KVM's broad tier
};

/// --accel, or with `auto` KVM where that works here and can do what is asked for. A note says why
/// not, when somebody might expect it.
struct ChosenAccelerator {
  machine::Accelerator accelerator = machine::Accelerator::tcg;
  std::string note;
};
[[nodiscard]] Result<ChosenAccelerator> choose_accelerator(const GuestOptions& options,
                                                           const MachineNeeds& needs);

/// What to start, to be watched. Checks what can be checked without starting anything.
[[nodiscard]] Result<machine::GuestRequest> make_guest_request(
    const GuestOptions& options, machine::Accelerator accelerator = machine::Accelerator::tcg);

/// The command for the guest's shell. A Windows program of this host that it names is delivered and
/// called by its place in the guest. Fails when a file to copy does not exist.
[[nodiscard]] Result<machine::GuestCommand> make_guest_command(
    const GuestOptions& options, const machine::GuestProfile& profile,
    const std::vector<std::string>& words);

/// Whether the guest could execute the host's program that the command delivers, if it does.
[[nodiscard]] Result<> check_program(const GuestOptions& options,
                                     const machine::GuestProfile& profile,
                                     const machine::GuestCommand& command);

/// "raw", "qcow2", "vmdk", ... from the first bytes of a disk image.
[[nodiscard]] Result<std::string> disk_format(const std::filesystem::path& file);

}  // namespace glasshook::cli
