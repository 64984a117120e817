#include <xxhash.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <span>
#include <system_error>

#include "base/text.h"
#include "machine/disguise.h"
#include "machine/image.h"
#include "machine/shell.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

// Generous: a loaded host may be ten times slower than a quiet one.
constexpr auto kBootTime = std::chrono::minutes(10);
constexpr auto kWarmUpTime = std::chrono::minutes(5);
constexpr auto kSaveTime = std::chrono::minutes(3);

std::string snapshot_prefix(const MachineShape& shape) {
  return fmt::format("snapshot-{}{}cpu-{}M-", shape.stealth ? "stealth-" : "", shape.smp,
                     shape.memory_mib);
}

MachineShape shape_of(const MachineConfig& config) {
  return {.smp = config.smp, .memory_mib = config.memory_mib, .stealth = config.stealth};
}

Result<> write_file(const fs::path& file, std::span<const std::uint8_t> bytes) {
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) return fail(ErrorCode::io, "cannot write {}", file.native());
  return {};
}

/// Saves the machine's state as `file`, complete or not at all; `change` is done to it before it
/// has its name.
Result<> save_as(Machine& machine, const fs::path& file,
                 const std::function<Result<>(const fs::path&)>& change) {
  const fs::path half = file.parent_path() / ("." + file.filename().native());
  std::error_code error;
  fs::remove(half, error);
  auto saved = machine.save_snapshot(half, in(kSaveTime));
  if (saved) saved = change(half);
  if (!saved) {
    fs::remove(half, error);
    return saved;
  }
  machine.quit(in(std::chrono::seconds(10)));
  fs::rename(half, file, error);
  if (error) return fail(ErrorCode::io, "cannot make {}: {}", file.native(), error.message());
  return {};
}

/// Removes snapshots of the same size that another QEMU or configuration made.
void remove_outdated(const fs::path& directory, std::string_view prefix, const fs::path& keep) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(prefix) && entry.path() != keep) fs::remove(entry.path(), error);
  }
}

}  // namespace

std::string snapshot_name(const MachineShape& shape, std::string_view identity) {
  return fmt::format("{}{:016x}", snapshot_prefix(shape),
                     XXH3_64bits(identity.data(), identity.size()));
}

Result<fs::path> ImageStore::snapshot(const Image& image, const MachineShape& shape,
                                      const ProgressSink& progress) const {
  auto config = machine(image, shape);
  if (!config) return std::unexpected(config.error());
  auto identity = snapshot_identity(*config);
  if (!identity) return std::unexpected(identity.error());
  const fs::path file = image.directory / snapshot_name(shape, *identity);
  if (fs::exists(file)) return file;
  auto lock = FileLock::acquire(image.directory / "snapshot.lock", in(kBootTime + kWarmUpTime),
                                [&] { progress("waiting for another process that boots it"); });
  if (!lock) return std::unexpected(lock.error());
  if (fs::exists(file)) return file;
  if (auto made = make_snapshot(image, *config, file, progress); !made)
    return std::unexpected(made.error());
  remove_outdated(image.directory, snapshot_prefix(shape), file);
  return file;
}

Result<fs::path> ImageStore::kernel_entry(const Image& image, const MachineConfig& config,
                                          const ProgressSink& progress) const {
  auto identity = snapshot_identity(config);
  if (!identity) return std::unexpected(identity.error());
  const fs::path file = image.directory / ("entry-" + snapshot_name(shape_of(config), *identity));
  if (fs::exists(file)) return file;
  auto lock = FileLock::acquire(image.directory / "entry.lock", in(kBootTime), [] {});
  if (!lock) return std::unexpected(lock.error());
  if (fs::exists(file)) return file;
  progress("giving the machine its names (once)");
  const auto scratch = TempDir::create();
  if (!scratch) return std::unexpected(scratch.error());
  const auto held = held_at_entry(config.kernel);
  if (!held) return std::unexpected(held.error());
  MachineConfig holding = config;
  holding.kernel = scratch->path() / "vmlinuz";
  if (auto ok = write_file(holding.kernel, *held); !ok) return std::unexpected(ok.error());
  auto machine = Machine::start(holding, std::nullopt, in(kBootTime));
  if (!machine) return std::unexpected(machine.error());
  if (auto ok = (*machine)->run_to(kKernelEntry, in(kBootTime)); !ok)
    return std::unexpected(ok.error());
  const auto made = save_as(
      **machine, file, [&](const fs::path& state) { return disguise_file(state, config.kernel); });
  if (!made) return std::unexpected(made.error());
  remove_outdated(image.directory, "entry-" + snapshot_prefix(shape_of(config)), file);
  return file;
}

Result<> ImageStore::make_snapshot(const Image& image, const MachineConfig& config,
                                   const fs::path& file, const ProgressSink& progress) const {
  progress(fmt::format("booting the guest for a snapshot ({} CPU, {} MiB; once)", config.smp,
                       config.memory_mib));
  std::optional<fs::path> entry;
  if (config.stealth) {
    auto made = kernel_entry(image, config, progress);
    if (!made) return std::unexpected(made.error());
    entry = std::move(*made);
  }
  auto machine = Machine::start(config, entry, in(kBootTime));
  if (!machine) return std::unexpected(machine.error());
  auto shell = GuestShell::open(**machine);
  if (!shell) return std::unexpected(shell.error());
  if (auto ok = (*machine)->resume(in(kBootTime)); !ok) return ok;
  auto ready = shell->wait_begun(in(kBootTime));
  if (ready) ready = shell->wait_ready(in(kBootTime));
  if (!ready)
    return ready.error().code == ErrorCode::closed ? std::unexpected((*machine)->why_gone())
                                                   : ready;
  progress("warming it up");
  if (auto ok = shell->run_line("sh /etc/guest/warmup", in(kWarmUpTime)); !ok)
    return std::unexpected(ok.error());
  progress("saving the snapshot");
  return save_as(**machine, file, [](const fs::path&) { return Result<>(); });
}

}  // namespace glasshook::machine
