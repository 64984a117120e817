#include "machine/vm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "machine/qemu_files.h"
#include "machine/stealth.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

/// Both ends of a stream socket.
struct Pair {
  UniqueFd ours, theirs;
};

Result<Pair> socket_pair(int type = SOCK_STREAM) {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail(ErrorCode::io, "socketpair: {}", std::strerror(errno));
  return Pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// A sparse file without a name in the cache directory, or where there is room otherwise.
Result<UniqueFd> nameless_file(std::uint64_t size) {
  const fs::path cache = cache_directory();
  for (const fs::path& place : {cache, fs::path("/var/tmp"), fs::path("/tmp")}) {
    UniqueFd fd(::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd.valid() && ::ftruncate(fd.get(), static_cast<off_t>(size)) == 0) return fd;
  }
  return fail(ErrorCode::io, "cannot make a temporary file in {} or /var/tmp: {}", cache.native(),
              std::strerror(errno));
}

/// The same file opened again, for reading only.
Result<UniqueFd> reopened_read_only(int fd) {
  UniqueFd again(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!again.valid()) return fail(ErrorCode::io, "cannot reopen a file: {}", std::strerror(errno));
  return again;
}

Result<> check_files(const MachineConfig& config) {
  std::vector<fs::path> files;
  for (const fs::path& file : {config.kernel, config.initrd, config.plugin})
    if (!file.empty()) files.push_back(file);
  for (const Disk& disk : config.disks) files.push_back(disk.file);
  for (const fs::path& file : files)
    if (::access(file.c_str(), R_OK) != 0)
      return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "cannot read {}: {}",
                  file.native(), std::strerror(errno));
  return {};
}

/// Where QEMU makes the overlays of its disks; it has no name for them once they are open.
Result<TempDir> overlay_directory() {
  const char* chosen = std::getenv("TMPDIR");
  const fs::path place = chosen != nullptr ? chosen : "";
  // What root has for itself is closed to the user that QEMU becomes.
  const bool usable = ::geteuid() != 0 || is_public(place);
  return TempDir::create_in({usable ? place : "", "/var/tmp", "/tmp"});
}

/// What connects us with QEMU.
struct Connections {
  Pair qmp, probe;
  std::array<Pair, kPorts> ports;
  UniqueFd delivery, delivery_for_qemu;

  static Result<Connections> make(const MachineConfig& config) {
    Connections made;
    std::vector<std::pair<Pair*, int>> pairs{{&made.qmp, SOCK_STREAM}};
    if (config.probe) pairs.emplace_back(&made.probe, SOCK_SEQPACKET);
    if (config.channel)
      for (Pair& port : made.ports) pairs.emplace_back(&port, SOCK_STREAM);
    for (const auto& [pair, type] : pairs) {
      auto ends = socket_pair(type);
      if (!ends) return std::unexpected(ends.error());
      *pair = std::move(*ends);
    }
    if (!config.channel) return made;
    auto file = nameless_file(kDeliverySize);
    if (!file) return std::unexpected(file.error());
    made.delivery = std::move(*file);
    auto again = reopened_read_only(made.delivery.get());
    if (!again) return std::unexpected(again.error());
    made.delivery_for_qemu = std::move(*again);
    return made;
  }
};

MachineFds inherited(const Connections& connections, const QemuFiles& files) {
  MachineFds fds{.qmp = connections.qmp.theirs.get(),
                 .delivery = connections.delivery_for_qemu.get(),
                 .probe = connections.probe.theirs.get(),
                 .userfaultfd = files.userfaultfd.get(),
                 .kernel = files.kernel.get(),
                 .initrd = files.initrd.get(),
                 .plugin = files.plugin.get(),
                 .console = files.console.get(),
                 .snapshot = files.snapshot.get()};
  for (std::size_t i = 0; i < kPorts; ++i) fds.ports[i] = connections.ports[i].theirs.get();
  for (const UniqueFd& disk : files.disks) fds.disks.push_back(disk.get());
  return fds;
}

std::vector<int> all_of(const MachineFds& fds) {
  std::vector<int> all{fds.qmp,    fds.delivery, fds.probe,   fds.userfaultfd, fds.kernel,
                       fds.initrd, fds.plugin,   fds.console, fds.snapshot};
  all.insert(all.end(), fds.ports.begin(), fds.ports.end());
  all.insert(all.end(), fds.disks.begin(), fds.disks.end());
  std::erase(all, -1);
  return all;
}

std::string string_member(const rapidjson::Value& object, const char* name) {
  const auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsString() ? member->value.GetString() : "";
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::start(const MachineConfig& config,
                                                const std::optional<fs::path>& snapshot,
                                                Deadline deadline) {
  if (auto ok = check_files(config); !ok) return std::unexpected(ok.error());
  auto files = QemuFiles::open(config, snapshot);
  if (!files) return std::unexpected(files.error());
  auto connections = Connections::make(config);
  if (!connections) return std::unexpected(connections.error());
  // Removed when QEMU has opened its overlays: then it has no directory to write to at all.
  auto scratch = overlay_directory();
  if (!scratch) return std::unexpected(scratch.error());
  auto cage = confinement::Cage::prepare(cage_needs(config, *files, scratch->path()));
  if (!cage) return std::unexpected(cage.error());
  if (const auto user = cage->user(); user && ::chown(scratch->path().c_str(), *user, *user) != 0)
    return fail(ErrorCode::io, "cannot give {} away: {}", scratch->path().native(),
                std::strerror(errno));
  const MachineFds fds = inherited(*connections, *files);
  std::vector<std::string> environment = qemu_environment(config, fds);
  environment.push_back("TMPDIR=" + scratch->path().native());
  auto child = Child::start({.argv = qemu_arguments(config, fds, snapshot.has_value()),
                             .inherit = all_of(fds),
                             .environment = std::move(environment),
                             .cage = &*cage});
  if (!child) return with_remedy(std::unexpected(child.error()), "scripts/setup installs QEMU");
  std::unique_ptr<Machine> machine(new Machine(std::move(*cage), std::move(*child)));
  machine->delivery_ = std::move(connections->delivery);
  machine->probe_ = std::move(connections->probe.ours);
  for (std::size_t i = 0; i < kPorts; ++i)
    machine->ports_[i] = std::move(connections->ports[i].ours);
  auto qmp = std::move(connections->qmp.ours);
  connections = fail(ErrorCode::closed, "with QEMU");  // its ends are QEMU's alone
  auto client = QmpClient::adopt(std::move(qmp), deadline);
  if (!client)
    return std::unexpected(client.error().code == ErrorCode::closed ? machine->why_gone()
                                                                    : client.error());
  machine->qmp_ = std::move(*client);
  if (snapshot) {
    if (auto restored = machine->restore(deadline); !restored)
      return with_remedy(fail(restored.error().code, "the snapshot does not restore: {}",
                              restored.error().message),
                         fmt::format("remove {} (it is made anew)", snapshot->native()));
  }
  if (config.stealth && config.channel) {
    // An image is as large as what is in it; its disk, like its model. After a restore disks are
    // not in use before the machine runs.
    auto grown = machine->execute("blockdev-set-active", R"({"active":true})", deadline);
    if (!grown) return std::unexpected(grown.error());
    grown = machine->execute("block_resize",
                             fmt::format(R"({{"device":"disk0","size":{}}})", kStealthDiskSize),
                             deadline);
    if (!grown) return std::unexpected(grown.error());
  }
  return machine;
}

Error Machine::why_gone() {
  const auto status = child_.wait(in(std::chrono::seconds(2)));
  std::string said = child_.error_output(2000);
  while (said.ends_with('\n')) said.pop_back();
  return Error{ErrorCode::closed,
               fmt::format("QEMU ended ({}){}{}", status ? status->text() : "still ending",
                           said.empty() ? "" : ": ", to_printable(said)),
               {}};
}

Result<rapidjson::Document> Machine::execute(std::string_view command, std::string_view arguments,
                                             Deadline deadline) {
  auto result = qmp_->execute(command, arguments, deadline);
  if (!result && result.error().code == ErrorCode::closed) return std::unexpected(why_gone());
  return result;
}

Result<> Machine::resume(Deadline deadline) {
  auto done = execute("cont", "", deadline);
  return done ? Result<>() : std::unexpected(done.error());
}

Result<> Machine::pause(Deadline deadline) {
  auto done = execute("stop", "", deadline);
  return done ? Result<>() : std::unexpected(done.error());
}

Result<> Machine::run_to(std::uint32_t address, Deadline deadline) {
  if (auto ok = resume(deadline); !ok) return ok;
  const std::string there = fmt::format("EIP={:08x}", address);
  for (;;) {
    auto registers =
        execute("human-monitor-command", R"({"command-line":"info registers"})", deadline);
    if (!registers) return std::unexpected(registers.error());
    if (registers->IsString() &&
        std::string_view(registers->GetString()).find(there) != std::string_view::npos)
      return pause(deadline);
    if (Clock::now() >= deadline)
      return fail(ErrorCode::timeout, "the machine does not come to its kernel in time");
    ::poll(nullptr, 0, 20);
  }
}

Result<> Machine::use_mapped_ram(Deadline deadline) {
  auto done = execute("migrate-set-capabilities",
                      R"({"capabilities":[{"capability":"mapped-ram","state":true}]})", deadline);
  if (!done) return std::unexpected(done.error());
  // Unlimited: the default holds a snapshot back to 128 MiB/s.
  done = execute("migrate-set-parameters", R"({"max-bandwidth":0})", deadline);
  return done ? Result<>() : std::unexpected(done.error());
}

Result<> Machine::save_snapshot(const fs::path& file, Deadline deadline) {
  if (auto ok = pause(deadline); !ok) return ok;
  if (auto ok = use_mapped_ram(deadline); !ok) return ok;
  const UniqueFd open(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!open.valid())
    return fail(ErrorCode::io, "cannot make {}: {}", file.native(), std::strerror(errno));
  const auto name = qmp_->give_file(open.get(), deadline);
  if (!name) return std::unexpected(name.error());
  auto begun =
      execute("migrate", fmt::format(R"({{"uri":{}}})", json_quoted("file:" + *name)), deadline);
  if (!begun) return std::unexpected(begun.error());
  return wait_migrated("saving the snapshot", deadline);
}

Result<> Machine::restore(Deadline deadline) {
  if (auto ok = use_mapped_ram(deadline); !ok) return ok;
  auto begun = execute("migrate-incoming",
                       fmt::format(R"({{"uri":{}}})", json_quoted(incoming_uri())), deadline);
  if (!begun) return std::unexpected(begun.error());
  return wait_migrated("restoring the snapshot", deadline);
}

Result<> Machine::wait_migrated(std::string_view what, Deadline deadline) {
  for (;;) {
    auto info = execute("query-migrate", "", deadline);
    if (!info) return std::unexpected(info.error());
    const std::string status = string_member(*info, "status");
    if (status == "completed") return {};
    if (status == "failed" || status == "cancelled")
      return fail(ErrorCode::io, "{} failed: {}", what, string_member(*info, "error-desc"));
    if (Clock::now() >= deadline) return fail(ErrorCode::timeout, "{} takes too long", what);
    ::poll(nullptr, 0, 2);
  }
}

void Machine::quit(Deadline deadline) {
  if (qmp_) (void)qmp_->execute("quit", "", deadline);
  if (!child_.wait(deadline)) child_.kill();
}

UniqueFd Machine::take_port(Port port) { return std::move(ports_[static_cast<std::size_t>(port)]); }

}  // namespace glasshook::machine
