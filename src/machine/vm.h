// A virtual machine under QEMU: its command line, its life, its snapshots.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/process.h"
#include "machine/qmp.h"

namespace glasshook::machine {

/// A disk of the guest. The file is never written: changes go to a temporary overlay, so that many
/// machines run from one file at once.
struct Disk {
  std::filesystem::path file;
  std::string format = "raw";  ///< as QEMU names it: raw, qcow2, ...
};

/// What runs the guest's instructions.
enum class Accelerator : std::uint8_t {
  tcg,  ///< QEMU's emulation
  kvm,  ///< the processor
};

/// What QEMU is asked to be. A snapshot restores only into the same configuration; the plugin,
/// the console log and the delivered content may differ.
struct MachineConfig {
  Accelerator accelerator = Accelerator::tcg;
  std::filesystem::path kernel;  ///< empty: boot from the first disk
  std::filesystem::path initrd;
  std::string append;  ///< kernel command line
  std::vector<Disk> disks;
  std::uint64_t memory_mib = 512;
  std::uint32_t smp = 1;
  std::string cpu = "max";  ///< without `stealth`
  /// The machine of machine/stealth.h instead of one made of virtual devices.
  bool stealth = false;
  /// Adds the delivery disk and the ports that GuestShell speaks over.
  bool channel = true;
  std::filesystem::path console_log;  ///< what the guest prints on its serial console; empty: lost
  std::filesystem::path plugin;       ///< TCG plugin, or library to preload for KVM; empty: none
  bool probe = false;                 ///< the plugin is ours: Machine has a connection to it
  /// The library for KVM gets /dev/userfaultfd, where that may be opened: see open_userfaultfd().
  bool userfaultfd = false;
  std::vector<std::string> extra_arguments;
  std::string qemu = "qemu-system-x86_64";
};

/// Ports between host and guest, in the order of the guest's virtio-serial or serial ports.
enum class Port : std::uint8_t { control, out, err };
inline constexpr std::size_t kPorts = 3;

/// Descriptors QEMU inherits. -1: the configuration has no such thing, or QEMU opens it by name.
struct MachineFds {
  int qmp = -1;
  int delivery = -1;
  std::array<int, kPorts> ports{-1, -1, -1};
  int probe = -1;
  int userfaultfd = -1;
  int kernel = -1, initrd = -1, plugin = -1, console = -1, snapshot = -1;
  std::vector<int> disks = {};
};

/// Virtual size of the delivery disk.
inline constexpr std::uint64_t kDeliverySize = std::uint64_t{1} << 30;

/// The whole command line. `incoming` adds what a restore needs. The machine starts stopped.
[[nodiscard]] std::vector<std::string> qemu_arguments(const MachineConfig& config,
                                                      const MachineFds& fds, bool incoming);

/// Where it then finds the state to restore, for QMP's migrate-incoming.
[[nodiscard]] std::string incoming_uri();
/// Variables QEMU gets besides those of this process: "NAME=VALUE".
[[nodiscard]] std::vector<std::string> qemu_environment(const MachineConfig& config,
                                                        const MachineFds& fds);

/// Text that identifies what a snapshot depends on besides the disk's content: the QEMU program
/// file and the parts of the configuration the guest can see.
[[nodiscard]] Result<std::string> snapshot_identity(const MachineConfig& config);

/// A QEMU process under our control, in a cage (confinement::Cage): it sees no file of the host but
/// those of its configuration. It is killed with the object, and with the thread that started it.
/// Used from one thread.
class Machine {
 public:
  /// Starts QEMU, stopped before its first instruction; with `snapshot`, in the state saved there.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> start(
      const MachineConfig& config, const std::optional<std::filesystem::path>& snapshot,
      Deadline deadline);

  /// Runs (or runs on).
  Result<> resume(Deadline deadline);
  Result<> pause(Deadline deadline);
  /// Runs until the first processor, in 32 bit code, is at this address and stays there; then
  /// stops.
  Result<> run_to(std::uint32_t address, Deadline deadline);
  /// Writes the machine's state to a new file and leaves it stopped. Needs a machine whose disks
  /// have not changed in a way that matters: their overlays are not part of the state.
  Result<> save_snapshot(const std::filesystem::path& file, Deadline deadline);
  /// Ends QEMU: asked first, killed at the deadline.
  void quit(Deadline deadline);

  /// How QEMU ended, if it has.
  [[nodiscard]] Result<ExitStatus> wait_exit(Deadline deadline) { return child_.wait(deadline); }
  /// "QEMU ended (...): what it said", for when something on the way to it was closed.
  [[nodiscard]] Error why_gone();

  [[nodiscard]] QmpClient& qmp() { return *qmp_; }
  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  /// Readable (poll) when QEMU has ended.
  [[nodiscard]] int exit_fd() const { return child_.pidfd(); }
  /// Our end of a port; invalid when taken already or without a channel.
  [[nodiscard]] UniqueFd take_port(Port port);
  /// Our end of the connection to the plugin; invalid when taken already or without one.
  [[nodiscard]] UniqueFd take_probe() { return std::move(probe_); }
  /// Walls of QEMU's cage that could not be put up here.
  [[nodiscard]] const std::vector<std::string>& missing_walls() const {
    return child_.missing_walls();
  }
  /// The file behind the delivery disk, kDeliverySize long; the guest sees what is written to it.
  [[nodiscard]] int delivery_fd() const { return delivery_.get(); }

 private:
  Machine(confinement::Cage cage, Child child) : cage_(std::move(cage)), child_(std::move(child)) {}
  Result<rapidjson::Document> execute(std::string_view command, std::string_view arguments,
                                      Deadline deadline);
  Result<> use_mapped_ram(Deadline deadline);
  Result<> restore(Deadline deadline);
  Result<> wait_migrated(std::string_view what, Deadline deadline);

  confinement::Cage cage_;
  Child child_;
  std::unique_ptr<QmpClient> qmp_;
  std::array<UniqueFd, kPorts> ports_;
  UniqueFd probe_;
  UniqueFd delivery_;
};

}  // namespace glasshook::machine
