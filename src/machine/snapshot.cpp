#include <xxhash.h>

#include <system_error>

#include "base/text.h"
#include "machine/image.h"
#include "machine/shell.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

// Generous: a loaded host may be ten times slower than a quiet one.
constexpr auto kBootTime = std::chrono::minutes(10);
constexpr auto kWarmUpTime = std::chrono::minutes(5);
constexpr auto kSaveTime = std::chrono::minutes(3);

std::string snapshot_prefix(std::uint32_t smp, std::uint64_t memory_mib) {
  return fmt::format("snapshot-{}cpu-{}M-", smp, memory_mib);
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

std::string snapshot_name(std::uint32_t smp, std::uint64_t memory_mib, std::string_view identity) {
  return fmt::format("{}{:016x}", snapshot_prefix(smp, memory_mib),
                     XXH3_64bits(identity.data(), identity.size()));
}

Result<fs::path> ImageStore::snapshot(const Image& image, std::uint32_t smp,
                                      std::uint64_t memory_mib, const ProgressSink& progress,
                                      Accelerator accelerator) const {
  auto config = machine(image, smp, memory_mib);
  if (!config) return std::unexpected(config.error());
  config->accelerator = accelerator;
  auto identity = snapshot_identity(*config);
  if (!identity) return std::unexpected(identity.error());
  const fs::path file = image.directory / snapshot_name(smp, memory_mib, *identity);
  if (fs::exists(file)) return file;
  auto lock = FileLock::acquire(image.directory / "snapshot.lock", in(kBootTime + kWarmUpTime),
                                [&] { progress("waiting for another process that boots it"); });
  if (!lock) return std::unexpected(lock.error());
  if (fs::exists(file)) return file;
  if (auto made = make_snapshot(*config, file, progress); !made)
    return std::unexpected(made.error());
  remove_outdated(image.directory, snapshot_prefix(smp, memory_mib), file);
  return file;
}

Result<> ImageStore::make_snapshot(const MachineConfig& config, const fs::path& file,
                                   const ProgressSink& progress) const {
  progress(fmt::format("booting the guest for a snapshot ({} CPU, {} MiB; once)", config.smp,
                       config.memory_mib));
  auto machine = Machine::start(config, std::nullopt, in(kBootTime));
  if (!machine) return std::unexpected(machine.error());
  auto shell = GuestShell::open(**machine);
  if (!shell) return std::unexpected(shell.error());
  if (auto ok = (*machine)->resume(in(kBootTime)); !ok) return ok;
  if (auto ok = shell->wait_ready(in(kBootTime)); !ok)
    return ok.error().code == ErrorCode::closed ? std::unexpected((*machine)->why_gone()) : ok;
  progress("warming it up");
  if (auto ok = shell->run_line("sh /etc/guest/warmup", in(kWarmUpTime)); !ok)
    return std::unexpected(ok.error());
  progress("saving the snapshot");
  const fs::path half = file.parent_path() / ("." + file.filename().native());
  std::error_code error;
  fs::remove(half, error);
  if (auto ok = (*machine)->save_snapshot(half, in(kSaveTime)); !ok) {
    fs::remove(half, error);
    return ok;
  }
  (*machine)->quit(in(std::chrono::seconds(10)));
  fs::rename(half, file, error);
  if (error) return fail(ErrorCode::io, "cannot make {}: {}", file.native(), error.message());
  return {};
}

}  // namespace glasshook::machine
