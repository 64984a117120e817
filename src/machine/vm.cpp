#include "machine/vm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

/// Both ends of a stream socket.
struct Pair {
  UniqueFd ours, theirs;
};

Result<Pair> socket_pair() {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
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

std::string string_member(const rapidjson::Value& object, const char* name) {
  const auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsString() ? member->value.GetString() : "";
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::start(const MachineConfig& config,
                                                const std::optional<fs::path>& snapshot,
                                                Deadline deadline) {
  if (auto ok = check_files(config); !ok) return std::unexpected(ok.error());
  auto qmp = socket_pair();
  if (!qmp) return std::unexpected(qmp.error());
  MachineFds fds{.qmp = qmp->theirs.get()};
  std::array<Pair, kPorts> ports;
  UniqueFd delivery, delivery_for_qemu;
  std::vector<int> inherit{fds.qmp};
  if (config.channel) {
    for (std::size_t i = 0; i < kPorts; ++i) {
      auto pair = socket_pair();
      if (!pair) return std::unexpected(pair.error());
      ports[i] = std::move(*pair);
      fds.ports[i] = ports[i].theirs.get();
      inherit.push_back(fds.ports[i]);
    }
    auto file = nameless_file(kDeliverySize);
    if (!file) return std::unexpected(file.error());
    delivery = std::move(*file);
    auto again = reopened_read_only(delivery.get());
    if (!again) return std::unexpected(again.error());
    delivery_for_qemu = std::move(*again);
    fds.delivery = delivery_for_qemu.get();
    inherit.push_back(fds.delivery);
  }
  auto child = Child::start({.argv = qemu_arguments(config, fds, snapshot.has_value()),
                             .inherit = inherit,
                             .environment = qemu_environment(config)});
  if (!child) return with_remedy(std::unexpected(child.error()), "scripts/setup installs QEMU");
  std::unique_ptr<Machine> machine(new Machine(std::move(*child)));
  machine->delivery_ = std::move(delivery);
  for (std::size_t i = 0; i < kPorts; ++i) machine->ports_[i] = std::move(ports[i].ours);
  qmp->theirs.reset();
  auto client = QmpClient::adopt(std::move(qmp->ours), deadline);
  if (!client)
    return std::unexpected(client.error().code == ErrorCode::closed ? machine->why_gone()
                                                                    : client.error());
  machine->qmp_ = std::move(*client);
  if (snapshot) {
    if (auto restored = machine->restore(*snapshot, deadline); !restored)
      return with_remedy(fail(restored.error().code, "the snapshot does not restore: {}",
                              restored.error().message),
                         fmt::format("remove {} (it is made anew)", snapshot->native()));
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
  auto begun = execute(
      "migrate", fmt::format(R"({{"uri":{}}})", json_quoted("file:" + file.native())), deadline);
  if (!begun) return std::unexpected(begun.error());
  return wait_migrated("saving the snapshot", deadline);
}

Result<> Machine::restore(const fs::path& snapshot, Deadline deadline) {
  if (auto ok = use_mapped_ram(deadline); !ok) return ok;
  auto begun =
      execute("migrate-incoming",
              fmt::format(R"({{"uri":{}}})", json_quoted("file:" + snapshot.native())), deadline);
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
