#include "hypervisor/probe/control_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>

#include "base/bytes.h"
#include "capture/program_codec.h"
#include "capture/verifier.h"
#include "hypervisor/probe/seqpacket.h"

namespace glasshook::hypervisor::probe {
namespace {

Result<capture::Program> read_program(ByteReader& reader, capture::ProgramRole role) {
  auto program = capture::deserialize(reader.get_block());
  if (!program) return std::unexpected(program.error());
  if (auto verified = capture::verify(*program, role); !verified)
    return std::unexpected(verified.error());
  return program;
}

Result<> handle_load(ByteReader& reader, ControlTarget& target) {
  HookPrograms hook;
  hook.id.value = reader.get<std::uint32_t>();
  auto entry = read_program(reader, capture::ProgramRole::entry);
  if (!entry) return std::unexpected(entry.error());
  hook.entry = std::move(*entry);
  hook.uncovers = reader.get<std::uint8_t>() != 0;
  if (reader.get<std::uint8_t>() != 0) {
    auto exit = read_program(reader, capture::ProgramRole::exit);
    if (!exit) return std::unexpected(exit.error());
    hook.on_return = std::move(*exit);
  }
  if (!reader.ok()) return fail(ErrorCode::protocol, "short load_hook request");
  return target.load(std::move(hook));
}

Result<> handle_context(ByteReader& reader, ControlTarget& target) {
  auto program = read_program(reader, capture::ProgramRole::context);
  if (!program) return std::unexpected(program.error());
  return target.set_context_program(std::move(*program));
}

Result<> handle_thunks(ByteReader& reader, ControlTarget& target) {
  constexpr std::uint32_t kMaxThunks = 64;
  const auto count = std::min(reader.get<std::uint32_t>(), kMaxThunks);
  std::vector<Gva> thunks;
  for (std::uint32_t i = 0; i < count; ++i) thunks.push_back(Gva{reader.get<std::uint64_t>()});
  return target.set_return_thunks(std::move(thunks));
}

Result<> handle_place(ByteReader& reader, ControlTarget& target) {
  const Gpa page{reader.get<std::uint64_t>()};
  const auto sites = decode_sites(reader.get_block());
  if (!sites) return std::unexpected(sites.error());
  return target.place(page, *sites);
}

Result<> handle_simple(Request request, ByteReader& reader, ControlTarget& target) {
  const auto word = [&] { return reader.get<std::uint32_t>(); };
  const auto quad = [&] { return reader.get<std::uint64_t>(); };
  switch (request) {
    case Request::kernel_space: {
      const Gpa root{quad()};
      return target.set_kernel_space({.root = root, .five_level = reader.get<std::uint8_t>() != 0});
    }
    case Request::kernel_entries: {
      const Gva system_call{quad()};
      return target.set_kernel_entries(
          {.system_call = system_call, .interrupt_table = Gva{quad()}});
    }
    case Request::process_tables: {
      const std::uint32_t current_task = word(), mm = word();
      return target.set_process_tables({.current_task = current_task, .mm = mm, .pgd = word()});
    }
    case Request::place_at: {
      const auto instruction = reader.get<std::uint8_t>();
      if (instruction >= static_cast<std::uint8_t>(PrivilegedInstruction::count_))
        return fail(ErrorCode::protocol, "there is no privileged instruction {}", instruction);
      return target.place_at(static_cast<PrivilegedInstruction>(instruction), HookId{word()});
    }
    case Request::unload_hook:
      return target.unload(HookId{word()});
    case Request::watch_user_pages:
      return target.watch_user_pages(reader.get<std::uint8_t>() != 0);
    case Request::commit:
      return target.commit();
    case Request::set_add: {
      const auto set = word();
      return target.set_add(set, quad());
    }
    case Request::set_remove: {
      const auto set = word();
      return target.set_remove(set, quad());
    }
    case Request::set_rate: {
      const auto limiter = word();
      const auto per_second = word();
      return target.set_rate(limiter, per_second, word());
    }
    default:
      return fail(ErrorCode::protocol, "unknown request {}", static_cast<std::uint32_t>(request));
  }
}

/// Answers one monitor until it hangs up.
void serve(int connection, ControlTarget& target) {
  std::vector<std::byte> message;
  bool welcomed = false;
  while (receive_message(connection, message, nullptr)) {
    ByteReader reader(message);
    if (static_cast<Request>(reader.get<std::uint32_t>()) == Request::hello) {
      const auto version = reader.get<std::uint32_t>();
      const Tier tier = reader.get<std::uint8_t>() == 0 ? Tier::stealth : Tier::broad;
      Result<ControlTarget::Welcome> welcome =
          version == kProtocolVersion
              ? target.attach(tier)
              : fail(ErrorCode::protocol, "the probe speaks version {}, the monitor {}",
                     kProtocolVersion, version);
      if (!welcome) {
        if (!send_message(connection, encode_failure(welcome.error()), {})) break;
        continue;
      }
      ByteWriter payload;
      payload.put(std::uint32_t{0});
      encode_capabilities(welcome->capabilities, payload);
      payload.put(static_cast<std::uint32_t>(welcome->ram.size()));
      for (const RamPiece& piece : welcome->ram) payload.put(piece);
      const int fds[] = {welcome->region_fd, welcome->ram_fd};
      welcomed = send_message(connection, payload.bytes(), fds);
      continue;
    }
    const auto reply = welcomed ? ControlServer::handle(message, target)
                                : fail(ErrorCode::protocol, "the first request has to be hello");
    if (!send_message(connection, reply ? *reply : encode_failure(reply.error()), {})) break;
  }
  if (welcomed) target.detach();
}

bool same_user(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0);
}

void accept_forever(int listener, ControlTarget* target) {
  for (;;) {
    const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    if (same_user(connection)) serve(connection, *target);
    close(connection);
  }
}

/// Without QEMU's signals, which belong to QEMU's threads.
template <class Body>
void start_thread(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([body] {
    pthread_setname_np(pthread_self(), "glasshook");
    body();
  }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

Result<std::vector<std::byte>> ControlServer::handle(std::span<const std::byte> message,
                                                     ControlTarget& target) {
  ByteReader reader(message);
  const auto request = static_cast<Request>(reader.get<std::uint32_t>());
  Result<> done;
  switch (request) {
    case Request::load_hook:
      done = handle_load(reader, target);
      break;
    case Request::context_program:
      done = handle_context(reader, target);
      break;
    case Request::return_thunks:
      done = handle_thunks(reader, target);
      break;
    case Request::place:
      done = handle_place(reader, target);
      break;
    default:
      done = handle_simple(request, reader, target);
  }
  if (!done) return std::unexpected(done.error());
  ByteWriter payload;
  payload.put(std::uint32_t{0});
  return payload.take();
}

Result<> ControlServer::start(const std::string& path, ControlTarget& target) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid_argument, "socket path is empty or too long: {}", path);
  path.copy(address.sun_path, path.size());
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (listener < 0) return fail(ErrorCode::io, "cannot make a socket");
  unlink(path.c_str());
  const mode_t previous = umask(0177);
  const bool bound = bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  umask(previous);
  if (!bound || listen(listener, 4) != 0) {
    close(listener);
    return fail(ErrorCode::io, "cannot listen on {}", path);
  }
  start_thread([listener, &target] { accept_forever(listener, &target); });
  return {};
}

Result<> ControlServer::adopt(int connection, ControlTarget& target) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(connection, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET)
    return fail(ErrorCode::invalid_argument, "descriptor {} is no connection to a monitor",
                connection);
  fcntl(connection, F_SETFD, FD_CLOEXEC);
  start_thread([connection, &target] {
    serve(connection, target);
    close(connection);
  });
  return {};
}

void encode_capabilities(const Capabilities& capabilities, ByteWriter& out) {
  out.put_text(capabilities.backend);
  out.put(static_cast<std::uint8_t>(capabilities.user_pages));
  out.put(static_cast<std::uint8_t>(capabilities.user_places));
  out.put(static_cast<std::uint8_t>(capabilities.returns));
  out.put(static_cast<std::uint8_t>(capabilities.instructions));
  out.put(capabilities.max_sites);
  out.put(static_cast<std::uint8_t>(capabilities.hidden_from_reads));
  out.put(static_cast<std::uint8_t>(capabilities.write_protected));
}

Capabilities decode_capabilities(ByteReader& reader) {
  Capabilities capabilities;
  capabilities.backend = reader.get_text();
  capabilities.user_pages = reader.get<std::uint8_t>() != 0;
  capabilities.user_places = reader.get<std::uint8_t>() != 0;
  capabilities.returns = reader.get<std::uint8_t>() != 0;
  capabilities.instructions = reader.get<std::uint8_t>() != 0;
  capabilities.max_sites = reader.get<std::uint32_t>();
  capabilities.hidden_from_reads = reader.get<std::uint8_t>() != 0;
  capabilities.write_protected = reader.get<std::uint8_t>() != 0;
  return capabilities;
}

std::vector<std::byte> encode_sites(const PageSites& sites) {
  ByteWriter out;
  out.put(sites.address.value);
  out.put(static_cast<std::uint8_t>(sites.report_placements));
  out.put(static_cast<std::uint32_t>(sites.entries.size()));
  for (const EntrySite& site : sites.entries) {
    out.put(site.offset);
    out.put(site.hook.value);
  }
  out.put(static_cast<std::uint32_t>(sites.returns.size()));
  for (const ReturnRange& range : sites.returns) {
    out.put(range.begin);
    out.put(range.end);
  }
  out.put(static_cast<std::uint32_t>(sites.return_places.size()));
  for (const std::uint16_t offset : sites.return_places) out.put(offset);
  return out.take();
}

Result<PageSites> decode_sites(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  PageSites sites;
  sites.address = Gva{reader.get<std::uint64_t>()};
  sites.report_placements = reader.get<std::uint8_t>() != 0;
  const auto entries = reader.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < entries && reader.ok(); ++i) {
    const auto offset = reader.get<std::uint16_t>();
    sites.entries.push_back({.offset = offset, .hook = {reader.get<std::uint32_t>()}});
  }
  const auto ranges = reader.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < ranges && reader.ok(); ++i) {
    const auto begin = reader.get<std::uint16_t>();
    sites.returns.push_back({.begin = begin, .end = reader.get<std::uint16_t>()});
  }
  const auto places = reader.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < places && reader.ok(); ++i)
    sites.return_places.push_back(reader.get<std::uint16_t>());
  if (!reader.ok() || !reader.at_end()) return fail(ErrorCode::protocol, "malformed page sites");
  return sites;
}

}  // namespace glasshook::hypervisor::probe
