#include <sys/stat.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "machine/stealth.h"
#include "machine/vm.h"

namespace glasshook::machine {
namespace {

/// A value inside a QEMU option list: commas are doubled.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) out.append(c == ',' ? 2 : 1, c);
  return out;
}

std::string full_path(const std::filesystem::path& path) {
  return escaped(std::filesystem::absolute(path).native());
}

/// The name under which QEMU opens an inherited file again; without one, its own.
std::string path_of(int fd, const std::filesystem::path& path) {
  return fd >= 0 ? fmt::format("/proc/self/fd/{}", fd) : std::filesystem::absolute(path).native();
}

/// QEMU's own names for inherited files that it need not open again.
enum FdSet : std::uint8_t { kDeliverySet = 1, kConsoleSet, kSnapshotSet, kFirstDiskSet };

/// The name of an inherited file where QEMU looks for a file's name.
std::string add_fd(std::vector<std::string>& args, int fd, std::size_t set) {
  args.insert(args.end(), {"-add-fd", fmt::format("fd={},set={}", fd, set)});
  return fmt::format("/dev/fdset/{}", set);
}

constexpr std::array<const char*, kPorts> kPortNames{"control", "stdout", "stderr"};

void add_boot(std::vector<std::string>& args, const MachineConfig& config, const MachineFds& fds) {
  if (config.kernel.empty()) return;
  args.insert(args.end(), {"-kernel", path_of(fds.kernel, config.kernel)});
  if (!config.initrd.empty())
    args.insert(args.end(), {"-initrd", path_of(fds.initrd, config.initrd)});
  if (!config.append.empty()) args.insert(args.end(), {"-append", config.append});
}

void add_disks(std::vector<std::string>& args, const MachineConfig& config, const MachineFds& fds,
               const SerialNumbers& numbers) {
  for (std::size_t i = 0; i < config.disks.size(); ++i) {
    const Disk& disk = config.disks[i];
    const std::string drive = fmt::format("disk{}", i);
    const bool open = i < fds.disks.size() && fds.disks[i] >= 0;
    const std::string file =
        open ? add_fd(args, fds.disks[i], kFirstDiskSet + i) : full_path(disk.file);
    args.insert(args.end(), {"-drive",
                             fmt::format("if=none,id={},file={},format={},snapshot=on,cache=unsafe",
                                         drive, file, escaped(disk.format)),
                             "-device",
                             config.stealth ? stealth_disk(drive, i, numbers)
                                            : fmt::format("virtio-blk-pci,drive={}", drive)});
  }
}

void add_channel(std::vector<std::string>& args, const MachineConfig& config, const MachineFds& fds,
                 const SerialNumbers& numbers) {
  const std::string delivery = add_fd(args, fds.delivery, kDeliverySet);
  args.insert(args.end(),
              {"-drive",
               // A SATA disk cannot be one that is only read.
               fmt::format("if=none,id=delivery,file={},format=raw,{}", delivery,
                           config.stealth ? "snapshot=on" : "read-only=on"),
               "-device",
               config.stealth ? stealth_delivery("delivery", config.disks.size(), numbers)
                              : "virtio-blk-pci,drive=delivery,serial=delivery"});
  if (!config.stealth)
    args.insert(args.end(), {"-device", fmt::format("virtio-serial-pci,max_ports={}", kPorts + 1)});
  for (std::size_t i = 0; i < kPorts; ++i) {
    const char* name = kPortNames[i];
    args.insert(args.end(),
                {"-chardev", fmt::format("socket,id={},fd={}", name, fds.ports[i]), "-device",
                 config.stealth
                     ? stealth_port(name, i)
                     : fmt::format("virtserialport,nr={},chardev={},name={}", i + 1, name, name)});
  }
}

/// Processor, memory, board and what is on it.
void add_machine(std::vector<std::string>& args, const MachineConfig& config,
                 const SerialNumbers& numbers) {
  const bool stealth = config.stealth;
  args.insert(
      args.end(),
      {"-accel", config.accelerator == Accelerator::kvm ? "kvm" : "tcg,thread=multi", "-cpu",
       stealth ? stealth_cpu(config) : config.cpu, "-smp",
       stealth ? stealth_smp(config) : std::to_string(config.smp), "-m",
       fmt::format("{}M", config.memory_mib),
       // Shared memory in a file without a name, so that RAM can be mapped from outside.
       "-object", fmt::format("memory-backend-memfd,id=ram,size={}M,share=on", config.memory_mib),
       "-machine", stealth ? stealth_board() : "q35,memory-backend=ram", "-rtc", "base=utc"});
  if (stealth)
    for (std::string& part : stealth_parts(config, numbers)) args.push_back(std::move(part));
  else
    args.insert(args.end(), {"-device", "pvpanic-pci"});
}

/// The same numbers whenever this system is asked, others on others.
SerialNumbers numbers_of_this_system() {
  std::ifstream in("/etc/machine-id");
  const std::string id{std::istreambuf_iterator<char>(in), {}};
  return serial_numbers(XXH3_64bits(id.data(), id.size()));
}

}  // namespace

std::vector<std::string> qemu_arguments(const MachineConfig& config, const MachineFds& fds,
                                        bool incoming) {
  std::vector<std::string> args{
      config.qemu, "-name", "glasshook", "-no-user-config", "-nodefaults", "-display", "none",
      "-no-reboot", "-S", "-nic", "none",
      // What runs inside QEMU is the guest's to attack: it may start nothing and gain nothing.
      "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"};
  const SerialNumbers numbers = config.stealth ? numbers_of_this_system() : SerialNumbers{};
  add_machine(args, config, numbers);
  add_boot(args, config, fds);
  add_disks(args, config, fds, numbers);
  if (config.channel) add_channel(args, config, fds, numbers);
  std::string console = "null,id=console";
  if (fds.console >= 0)
    console = fmt::format("file,id=console,path={}", add_fd(args, fds.console, kConsoleSet));
  args.insert(args.end(),
              {"-chardev", console, "-serial", "chardev:console", "-chardev",
               fmt::format("socket,id=qmp,fd={}", fds.qmp), "-mon", "chardev=qmp,mode=control"});
  if (!config.plugin.empty() && config.accelerator == Accelerator::tcg) {
    std::string plugin = "file=" + escaped(path_of(fds.plugin, config.plugin));
    if (fds.probe >= 0) plugin += fmt::format(",fd={}", fds.probe);
    args.insert(args.end(), {"-plugin", plugin});
  }
  if (incoming) {
    args.insert(args.end(), {"-incoming", "defer"});
    add_fd(args, fds.snapshot, kSnapshotSet);
  }
  args.insert(args.end(), config.extra_arguments.begin(), config.extra_arguments.end());
  return args;
}

std::vector<std::string> qemu_environment(const MachineConfig& config, const MachineFds& fds) {
  if (config.plugin.empty() || config.accelerator != Accelerator::kvm) return {};
  std::vector<std::string> variables{"LD_PRELOAD=" + path_of(fds.plugin, config.plugin)};
  if (fds.probe < 0) return variables;
  std::string& settings = variables.emplace_back(fmt::format("GLASSHOOK_KVM=fd={}", fds.probe));
  if (fds.userfaultfd >= 0) settings += fmt::format(",userfaultfd={}", fds.userfaultfd);
  return variables;
}

Result<std::string> snapshot_identity(const MachineConfig& config) {
  const auto program = find_program(config.qemu);
  struct stat info{};
  if (program.empty() || ::stat(program.c_str(), &info) != 0)
    return with_remedy(fail(ErrorCode::not_found, "{} is not installed", config.qemu),
                       "apt-get install qemu-system-x86");
  // Only what the guest can tell apart; paths and descriptors stand for themselves.
  MachineConfig visible = config;
  visible.plugin.clear();
  visible.console_log.clear();
  std::string identity = fmt::format("{} {} {}.{}\n", program.native(), info.st_size,
                                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  for (const std::string& argument : qemu_arguments(visible, MachineFds{}, false))
    identity += argument + "\n";
  return identity;
}

std::string incoming_uri() { return fmt::format("file:/dev/fdset/{}", int{kSnapshotSet}); }

}  // namespace glasshook::machine
