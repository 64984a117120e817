#include "cli/guest_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "cli/values.h"
#include "machine/kvm_check.h"
#include "machine/resources.h"
#include "machine/stealth.h"
#include "machine/windows_program.h"

namespace glasshook::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMinMemoryMib = 128;
constexpr std::uint64_t kMaxMemoryMib = 1 << 20;
constexpr std::uint32_t kMaxVcpus = 64;

/// The first bytes of disk image formats (QEMU's block/*.c).
struct Magic {
  std::string_view bytes;
  const char* format;
};
constexpr std::array kMagics{Magic{"QFI\xfb", "qcow2"}, Magic{"KDMV", "vmdk"},
                             Magic{"conectix", "vpc"}, Magic{"vhdxfile", "vhdx"},
                             Magic{"QED", "qed"}};

Result<> check_readable(const std::string& file, std::string_view what) {
  if (::access(file.c_str(), R_OK) == 0) return {};
  return with_remedy(
      fail(ErrorCode::not_found, "cannot read the {} {}: {}", what, file, std::strerror(errno)),
      "check the path and its permissions");
}

Result<machine::MachineConfig> custom_machine(const GuestOptions& options) {
  machine::MachineConfig config;
  config.channel = false;
  for (const auto& [file, what] : {std::pair{options.image, "disk image"},
                                   {options.kernel, "kernel"},
                                   {options.initrd, "initrd"}})
    if (!file.empty())
      if (auto ok = check_readable(file, what); !ok) return std::unexpected(ok.error());
  config.kernel = options.kernel;
  config.initrd = options.initrd;
  config.append = options.append;
  if (!options.image.empty()) {
    const auto format = disk_format(options.image);
    if (!format) return std::unexpected(format.error());
    config.disks.push_back({.file = options.image, .format = *format});
  }
  return config;
}

Result<> check_combination(const GuestOptions& options) {
  if (options.kernel.empty() && (!options.initrd.empty() || !options.append.empty()))
    return with_remedy(fail(ErrorCode::invalid_argument, "--initrd and --append need --kernel"),
                       "--kernel FILE");
  if (options.smp && (*options.smp == 0 || *options.smp > kMaxVcpus))
    return fail(ErrorCode::invalid_argument, "--smp {}: from 1 to {} virtual CPUs", *options.smp,
                kMaxVcpus);
  return {};
}

Result<machine::MachineShape> shape_of(const GuestOptions& options) {
  machine::MachineShape shape;
  if (options.stealth)
    shape = {
        .smp = machine::kStealthCpus, .memory_mib = machine::kStealthMemoryMib, .stealth = true};
  shape.smp = options.smp.value_or(shape.smp);
  if (!options.memory.empty()) {
    const auto bytes = parse_size(options.memory, 1 << 20);
    if (!bytes) return std::unexpected(bytes.error());
    shape.memory_mib = *bytes >> 20;
    if (shape.memory_mib < kMinMemoryMib || shape.memory_mib > kMaxMemoryMib)
      return fail(ErrorCode::invalid_argument, "--memory {}: from {}M to {}G", options.memory,
                  kMinMemoryMib, kMaxMemoryMib >> 10);
  }
  if (options.stealth)
    if (auto ok = machine::check_stealth(shape.smp, shape.memory_mib); !ok)
      return std::unexpected(ok.error());
  return shape;
}

}  // namespace

void add_guest_options(CommandBuilder command, GuestOptions& o) {
  const CommandBuilder group = command.group("Guest");
  const OptionRef guest = group.value("--guest", o.guest, "A built image (default: linux)", "NAME");
  group.value("--image", o.image, "Your own disk image instead, booted cold", "FILE")
      .excludes(guest);
  group.value("--kernel", o.kernel, "Your own kernel instead, booted cold", "FILE").excludes(guest);
  group.value("--initrd", o.initrd, "Its initial RAM disk", "FILE");
  group.value("--append", o.append, "Its command line");
  group.value("--smp", o.smp, "Virtual CPUs (default: 1; with --stealth: 2)");
  group.value("--memory", o.memory, "RAM (default: 512M; with --stealth: 4G)", "SIZE");
  group.value("--accel", o.accelerator,
              "What runs the guest: kvm, tcg (QEMU's emulation), or auto (default): see kvm.md",
              "NAME");
  group.flag("--stealth", o.stealth, "Look like a PC to the guest, not like a virtual machine");
  group.flag("--cold-boot", o.cold_boot, "Boot instead of restoring the snapshot");
  group.values("--copy", o.copies, "Put a file or directory next to the command", "FILE");
  group.value("--directory", o.directory, "Where the command starts (default: its home)", "DIR");
  group.values("--env", o.environment, "Set a variable for the command", "NAME=VALUE");
  group.value("--console", o.console, "Keep what the guest's console prints", "FILE");
}

Result<ChosenAccelerator> choose_accelerator(const GuestOptions& options,
                                             const MachineNeeds& needs) {
  using machine::Accelerator;
  const std::string& wanted = options.accelerator;
  if (wanted == "tcg") return ChosenAccelerator{};
  if (wanted != "kvm" && wanted != "auto")
    return with_remedy(fail(ErrorCode::invalid_argument,
                            "--accel {}: there is no such way to run "
                            "a guest",
                            to_printable(wanted)),
                       "choose from: auto, kvm, tcg");
  if (wanted == "kvm" && needs.user_code && !needs.broad)
    return with_remedy(fail(ErrorCode::unsupported,
                            "breakpoints of a processor do not show functions of programs and "
                            "libraries"),
                       "--tier broad, which changes the guest's memory; or --accel tcg");
  if (wanted == "kvm" && options.stealth)
    return with_remedy(fail(ErrorCode::unsupported, "the PC of --stealth is not one under KVM"),
                       "--accel tcg");
  // What a guest under KVM cannot show is a reason for TCG that nobody needs to be told. Who asks
  // for the broad tier has KVM in mind.
  if (wanted == "auto" && (!(needs.few_places || needs.broad) || options.stealth))
    return ChosenAccelerator{};
  const auto works = machine::check_kvm();
  if (works) return ChosenAccelerator{.accelerator = Accelerator::kvm, .note = {}};
  if (wanted == "kvm")
    return with_remedy(fail(works.error().code, "{}", works.error().message),
                       works.error().remedy.empty() ? "--accel tcg" : works.error().remedy);
  return ChosenAccelerator{.accelerator = Accelerator::tcg,
                           .note = fmt::format("not under KVM: {}", works.error().message)};
}

Result<machine::GuestRequest> make_guest_request(const GuestOptions& options,
                                                 machine::Accelerator accelerator) {
  if (auto ok = check_combination(options); !ok) return std::unexpected(ok.error());
  auto shape = shape_of(options);
  if (!shape) return std::unexpected(shape.error());
  shape->accelerator = accelerator;
  machine::GuestRequest request;
  request.name = options.guest;
  request.shape = *shape;
  request.cold_boot = options.cold_boot;
  request.console_log = options.console;
  if (!options.image.empty() || !options.kernel.empty()) {
    auto config = custom_machine(options);
    if (!config) return std::unexpected(config.error());
    config->smp = shape->smp;
    config->memory_mib = shape->memory_mib;
    config->stealth = shape->stealth;
    config->accelerator = accelerator;
    request.custom = std::move(*config);
  }
  auto plugin = accelerator == machine::Accelerator::kvm ? machine::kvm_library_file()
                                                         : machine::plugin_file();
  if (!plugin) return std::unexpected(plugin.error());
  request.plugin = std::move(*plugin);
  request.probe = true;
  return request;
}

Result<machine::GuestCommand> make_guest_command(const GuestOptions& options,
                                                 const machine::GuestProfile& profile,
                                                 const std::vector<std::string>& words) {
  machine::GuestCommand command{
      .argv = words,
      .directory = options.directory.empty() ? profile.home : options.directory,
      .environment = options.environment,
      .copies = {}};
  if (!words.empty() && machine::is_windows_program(words[0])) {
    command.program = words[0];
    command.argv[0] = "./" + command.program.filename().native();
  }
  for (const std::string& assignment : options.environment)
    if (assignment.find('=') == std::string::npos || assignment.front() == '=')
      return fail(ErrorCode::invalid_argument, "--env {}: write NAME=VALUE", assignment);
  for (const std::string& file : options.copies) {
    if (auto ok = check_readable(file, "file to copy"); !ok) return std::unexpected(ok.error());
    command.copies.emplace_back(file);
  }
  return command;
}

Result<> check_program(const GuestOptions& options, const machine::GuestProfile& profile,
                       const machine::GuestCommand& command) {
  if (command.program.empty()) return {};
  if (!profile.runs_windows_programs)
    return with_remedy(
        fail(ErrorCode::unsupported, "{} is a Windows program, and the guest '{}' runs none",
             to_printable(command.program.native()), to_printable(options.guest)),
        "--guest windows-api");
  return machine::check_windows_program(command.program);
}

Result<std::string> disk_format(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string head(16, '\0');
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (stream.gcount() == 0)
    return fail(ErrorCode::io, "the disk image {} is empty or cannot be read", file.native());
  for (const Magic& magic : kMagics)
    if (head.starts_with(magic.bytes)) return magic.format;
  return "raw";
}

}  // namespace glasshook::cli
