#include <sys/stat.h>

#include <cerrno>
#include <cstring>

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

constexpr std::array<const char*, kPorts> kPortNames{"control", "stdout", "stderr"};

void add_boot(std::vector<std::string>& args, const MachineConfig& config) {
  if (config.kernel.empty()) return;
  args.insert(args.end(), {"-kernel", std::filesystem::absolute(config.kernel).native()});
  if (!config.initrd.empty())
    args.insert(args.end(), {"-initrd", std::filesystem::absolute(config.initrd).native()});
  if (!config.append.empty()) args.insert(args.end(), {"-append", config.append});
}

void add_disks(std::vector<std::string>& args, const MachineConfig& config) {
  for (std::size_t i = 0; i < config.disks.size(); ++i) {
    const Disk& disk = config.disks[i];
    args.insert(args.end(),
                {"-drive",
                 fmt::format("if=none,id=disk{},file={},format={},snapshot=on,cache=unsafe", i,
                             full_path(disk.file), escaped(disk.format)),
                 "-device", fmt::format("virtio-blk-pci,drive=disk{}", i)});
  }
}

void add_channel(std::vector<std::string>& args, const MachineFds& fds) {
  args.insert(args.end(), {"-add-fd", fmt::format("fd={},set=1", fds.delivery), "-drive",
                           "if=none,id=delivery,file=/dev/fdset/1,format=raw,read-only=on",
                           "-device", "virtio-blk-pci,drive=delivery,serial=delivery", "-device",
                           fmt::format("virtio-serial-pci,max_ports={}", kPorts + 1)});
  for (std::size_t i = 0; i < kPorts; ++i) {
    const char* name = kPortNames[i];
    args.insert(args.end(),
                {"-chardev", fmt::format("socket,id={},fd={}", name, fds.ports[i]), "-device",
                 fmt::format("virtserialport,nr={},chardev={},name={}", i + 1, name, name)});
  }
}

}  // namespace

std::vector<std::string> qemu_arguments(const MachineConfig& config, const MachineFds& fds,
                                        bool incoming) {
  std::vector<std::string> args{
      config.qemu, "-name", "glasshook", "-no-user-config", "-nodefaults", "-display", "none",
      "-no-reboot", "-S", "-nic", "none",
      // What runs inside QEMU is the guest's to attack: it may start nothing and gain nothing.
      "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-accel", config.accelerator == Accelerator::kvm ? "kvm" : "tcg,thread=multi", "-cpu",
      config.cpu, "-smp", std::to_string(config.smp), "-m", fmt::format("{}M", config.memory_mib),
      // Shared memory in a file without a name, so that RAM can be mapped from outside.
      "-object", fmt::format("memory-backend-memfd,id=ram,size={}M,share=on", config.memory_mib),
      "-machine", "q35,memory-backend=ram", "-rtc", "base=utc", "-device", "pvpanic-pci"};
  add_boot(args, config);
  add_disks(args, config);
  if (config.channel) add_channel(args, fds);
  args.insert(args.end(),
              {"-chardev",
               config.console_log.empty()
                   ? "null,id=console"
                   : fmt::format("file,id=console,path={}", full_path(config.console_log)),
               "-serial", "chardev:console", "-chardev",
               fmt::format("socket,id=qmp,fd={}", fds.qmp), "-mon", "chardev=qmp,mode=control"});
  if (!config.control_socket.empty())
    args.insert(args.end(), {"-qmp", fmt::format("unix:{},server=on,wait=off",
                                                 full_path(config.control_socket))});
  if (!config.plugin.empty() && config.accelerator == Accelerator::tcg) {
    std::string plugin = fmt::format("file={}", full_path(config.plugin));
    if (!config.plugin_arguments.empty()) plugin += "," + config.plugin_arguments;
    args.insert(args.end(), {"-plugin", plugin});
  }
  if (incoming) args.insert(args.end(), {"-incoming", "defer"});
  args.insert(args.end(), config.extra_arguments.begin(), config.extra_arguments.end());
  return args;
}

std::vector<std::string> qemu_environment(const MachineConfig& config) {
  if (config.plugin.empty() || config.accelerator != Accelerator::kvm) return {};
  return {"LD_PRELOAD=" + std::filesystem::absolute(config.plugin).native(),
          "GLASSHOOK_KVM=" + config.plugin_arguments};
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
  visible.control_socket.clear();
  std::string identity = fmt::format("{} {} {}.{}\n", program.native(), info.st_size,
                                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  for (const std::string& argument : qemu_arguments(visible, MachineFds{}, false))
    identity += argument + "\n";
  return identity;
}

}  // namespace glasshook::machine
