#include "machine/guest.h"

namespace glasshook::machine {
namespace {

constexpr auto kStartTime = std::chrono::seconds(60);

}  // namespace

Result<Guest> start_guest(const GuestRequest& request, const ProgressSink& progress) {
  MachineConfig config;
  std::optional<std::filesystem::path> snapshot;
  if (request.custom) {
    config = *request.custom;
  } else {
    auto store = ImageStore::open();
    if (!store) return std::unexpected(store.error());
    auto image = store->find(request.name);
    if (!image) return std::unexpected(image.error());
    auto machine = store->machine(*image, request.shape);
    if (!machine) return std::unexpected(machine.error());
    config = std::move(*machine);
    if (!request.cold_boot || config.stealth) {
      auto file = request.cold_boot ? store->kernel_entry(*image, config, progress)
                                    : store->snapshot(*image, request.shape, progress);
      if (!file) return std::unexpected(file.error());
      snapshot = std::move(*file);
    }
  }
  config.plugin = request.plugin;
  config.probe = request.probe;
  config.userfaultfd = request.userfaultfd;
  config.console_log = request.console_log;

  Guest guest;
  auto machine = Machine::start(config, snapshot, in(kStartTime));
  if (!machine) return std::unexpected(machine.error());
  guest.machine = std::move(*machine);
  guest.restored = snapshot.has_value() && !request.cold_boot;
  if (config.channel) {
    auto shell = GuestShell::open(*guest.machine);
    if (!shell) return std::unexpected(shell.error());
    guest.shell = std::move(*shell);
  }
  return guest;
}

}  // namespace glasshook::machine
