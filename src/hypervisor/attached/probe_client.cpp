#include "hypervisor/attached/probe_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "capture/program_codec.h"
#include "hypervisor/probe/control_server.h"
#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/probe/protocol.h"
#include "hypervisor/probe/seqpacket.h"

namespace glasshook::hypervisor {
namespace {

using probe::Request;
using std::chrono::milliseconds;
using std::chrono::system_clock;

constexpr milliseconds kReplyTime{10'000};
/// For what vCPUs are about to send to a monitor that is gone.
constexpr milliseconds kLeftoverTime{100};
/// What all replies of a session together may take beyond kQuickReply each. A probe that is slow
/// at every one of thousands of requests is as good as none.
constexpr milliseconds kAllSlowReplies{60'000};
constexpr milliseconds kQuickReply{1000};
/// How long a commit waits for running code to be dropped.
constexpr milliseconds kCommitTime{1000};

/// Whether the other side can no longer take memory away that we have mapped: reading it would end
/// this process. Only memory files can be sealed, so it is one of those as well.
bool is_lasting(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

/// What people are shown as the name of a backend.
bool is_name(std::string_view text) {
  constexpr std::size_t kLongest = 32;
  return !text.empty() && text.size() <= kLongest &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
}

/// What the other side may write at any time, read once.
template <class T>
T read_once(T& shared) {
  return std::atomic_ref<T>(shared).load(std::memory_order_relaxed);
}

ByteWriter begin_request(Request request) {
  ByteWriter out;
  out.put(static_cast<std::uint32_t>(request));
  return out;
}

}  // namespace

class ProbeClient::Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    // A peer that reads nothing holds nobody up.
    const timeval patience{.tv_sec = kReplyTime.count() / 1000, .tv_usec = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

  /// True when the peer has hung up.
  [[nodiscard]] bool closed() const {
    pollfd p{.fd = fd_, .events = POLLIN, .revents = 0};
    return ::poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
  }

 private:
  int fd_;
};

class ProbeClient::Mapping {
 public:
  explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
  ~Mapping() { munmap(bytes_.data(), bytes_.size()); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

Result<std::unique_ptr<ProbeClient>> ProbeClient::connect(const std::string& socket_path,
                                                          milliseconds timeout, Tier tier) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid_argument, "socket path is too long: {}", socket_path);
  socket_path.copy(address.sun_path, socket_path.size());
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(ErrorCode::io, "cannot make a socket: {}", std::strerror(errno));
  auto socket = std::make_unique<Socket>(fd);
  while (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    if (std::chrono::steady_clock::now() >= deadline)
      return with_remedy(
          fail(ErrorCode::io, "no probe answers at {}: {}", socket_path, std::strerror(errno)),
          "start QEMU with -plugin libglasshook-qemu.so,socket=" + socket_path);
    std::this_thread::sleep_for(milliseconds(5));
  }
  std::unique_ptr<ProbeClient> client(new ProbeClient(std::move(socket)));
  if (auto greeted = client->greet(tier); !greeted) return std::unexpected(greeted.error());
  return client;
}

Result<std::unique_ptr<ProbeClient>> ProbeClient::adopt(int connection, Tier tier) {
  std::unique_ptr<ProbeClient> client(new ProbeClient(std::make_unique<Socket>(connection)));
  if (auto greeted = client->greet(tier); !greeted) return std::unexpected(greeted.error());
  return client;
}

ProbeClient::ProbeClient(std::unique_ptr<Socket> socket) : socket_(std::move(socket)) {}

Result<> ProbeClient::greet(Tier tier) {
  ByteWriter hello = begin_request(Request::hello);
  hello.put(probe::kProtocolVersion);
  hello.put(static_cast<std::uint8_t>(tier));
  std::vector<int> fds;
  auto reply = request(hello.bytes(), &fds);
  const auto close_all = [&] { std::for_each(fds.begin(), fds.end(), ::close); };
  if (!reply || fds.size() != 2) {
    close_all();
    if (!reply) return std::unexpected(reply.error());
    return fail(ErrorCode::protocol, "the probe sent no memory");
  }
  if (!is_lasting(fds[0]) || !is_lasting(fds[1])) {
    close_all();
    return with_remedy(fail(ErrorCode::protocol, "the probe's memory could be taken away again"),
                       "let QEMU seal its RAM: not -object memory-backend-memfd,...,seal=off");
  }
  if ((::fcntl(fds[1], F_GETFL) & O_ACCMODE) != O_RDONLY) {
    close_all();
    return fail(ErrorCode::protocol, "the probe would let this process write to the guest");
  }
  ByteReader reader(*reply);
  capabilities_ = probe::decode_capabilities(reader);
  if (!is_name(capabilities_.backend)) {
    close_all();
    return fail(ErrorCode::protocol, "the probe does not say what it is");
  }
  std::vector<RamFileSegment> segments;
  const auto count = reader.get<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && segments.size() <= GuestRam::kMaxSegments; ++i) {
    const auto piece = reader.get<probe::RamPiece>();
    segments.push_back(
        {.begin = Gpa{piece.gpa}, .size = piece.size, .file_offset = piece.file_offset});
  }
  auto ram = RamFile::map(fds[1], segments);
  struct stat info{};
  void* at = MAP_FAILED;
  if (fstat(fds[0], &info) == 0)
    at = mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ | PROT_WRITE, MAP_SHARED,
              fds[0], 0);
  close_all();
  if (!ram) return std::unexpected(ram.error());
  if (at == MAP_FAILED) return fail(ErrorCode::io, "cannot map the probe's shared region");
  ram_ = std::make_unique<RamFile>(std::move(*ram));
  mapping_ = std::make_unique<Mapping>(
      std::span{static_cast<std::byte*>(at), static_cast<std::size_t>(info.st_size)});
  auto region = probe::SharedRegion::open(mapping_->bytes());
  if (!region) return std::unexpected(region.error());
  region_ = *region;
  memory_ = std::make_unique<UnpatchedMemory>(*ram_, region_);
  capabilities_.vcpus = region_.vcpus();
  // An earlier monitor may have left records, whose hooks were its own.
  const auto until = std::chrono::steady_clock::now() + kLeftoverTime;
  std::vector<capture::RingConsumer> rings;
  for (std::uint32_t v = 0; v < region_.vcpus(); ++v) {
    auto ring = capture::RingConsumer::attach(region_.ring(v));
    if (!ring) return std::unexpected(ring.error());
    ring->skip_all(until);
    rings.push_back(*ring);
  }
  merger_ = std::make_unique<capture::RingMerger>(std::move(rings), probe::ticks,
                                                  region_.ticks_per_second() / 10);
  take_clock_anchor();
  return {};
}

void ProbeClient::stop_asking() {
  if (!oracle_thread_.joinable()) return;
  oracle_thread_.request_stop();
  region_.header().question_bell.fetch_add(1);
  probe::futex_wake(region_.header().question_bell);
  oracle_thread_.join();
}

ProbeClient::~ProbeClient() {
  ProbeClient::stop_asking();
  // The probe sees the hang-up, disarms everything and lets waiting vCPUs go.
  socket_.reset();
}

Result<std::vector<std::byte>> ProbeClient::request(std::span<const std::byte> message,
                                                    std::vector<int>* fds) {
  if (message.size() > probe::kMaxMessageBytes)
    return fail(ErrorCode::limit, "a request of {} bytes is too large", message.size());
  const std::lock_guard lock(request_mutex_);
  // An answer that came too late would be taken for that of a later request.
  if (given_up_) return fail(ErrorCode::closed, "the probe in the hypervisor answers too slowly");
  const auto begun = std::chrono::steady_clock::now();
  if (!probe::send_message(socket_->fd(), message, {}))
    return fail(ErrorCode::closed, "the VM is gone");
  pollfd wait{.fd = socket_->fd(), .events = POLLIN, .revents = 0};
  given_up_ = ::poll(&wait, 1, static_cast<int>(kReplyTime.count())) <= 0;
  if (given_up_) return fail(ErrorCode::timeout, "the probe in the hypervisor does not answer");
  const auto taken = std::chrono::steady_clock::now() - begun;
  if (taken > kQuickReply) slow_replies_ += taken;
  given_up_ = slow_replies_ > kAllSlowReplies;
  std::vector<std::byte> reply;
  if (!probe::receive_message(socket_->fd(), reply, fds))
    return fail(ErrorCode::closed, "the VM is gone");
  return probe::decode_reply(reply);
}

Result<> ProbeClient::command(std::span<const std::byte> message) {
  auto reply = request(message, nullptr);
  if (!reply) return std::unexpected(reply.error());
  return {};
}

Result<> ProbeClient::set_kernel_space(AddressSpace space) {
  ByteWriter out = begin_request(Request::kernel_space);
  out.put(space.root.value);
  out.put(static_cast<std::uint8_t>(space.five_level));
  return command(out.bytes());
}

Result<> ProbeClient::set_return_thunks(const std::vector<Gva>& thunks) {
  ByteWriter out = begin_request(Request::return_thunks);
  out.put(static_cast<std::uint32_t>(thunks.size()));
  for (const Gva thunk : thunks) out.put(thunk.value);
  return command(out.bytes());
}

Result<> ProbeClient::set_kernel_entries(const KernelEntries& entries) {
  ByteWriter out = begin_request(Request::kernel_entries);
  out.put(entries.system_call.value);
  out.put(entries.interrupt_table.value);
  return command(out.bytes());
}

Result<> ProbeClient::set_process_tables(const ProcessTables& process) {
  ByteWriter out = begin_request(Request::process_tables);
  out.put(process.current_task);
  out.put(process.mm);
  out.put(process.pgd);
  return command(out.bytes());
}

Result<> ProbeClient::set_context_program(capture::Program program) {
  ByteWriter out = begin_request(Request::context_program);
  out.put_block(capture::serialize(program));
  return command(out.bytes());
}

Result<> ProbeClient::load(const HookPrograms& hook) {
  ByteWriter out = begin_request(Request::load_hook);
  out.put(hook.id.value);
  out.put_block(capture::serialize(hook.entry));
  out.put(static_cast<std::uint8_t>(hook.uncovers));
  out.put(static_cast<std::uint8_t>(hook.on_return.has_value()));
  if (hook.on_return) out.put_block(capture::serialize(*hook.on_return));
  auto loaded = command(out.bytes());
  if (!loaded) return loaded;
  const std::lock_guard lock(request_mutex_);
  hooks_.push_back(hook.id);
  return {};
}

Result<> ProbeClient::place(Gpa page, const PageSites& sites) {
  ByteWriter out = begin_request(Request::place);
  out.put(page.value);
  out.put_block(probe::encode_sites(sites));
  return command(out.bytes());
}

Result<> ProbeClient::place_at(PrivilegedInstruction instruction, HookId hook) {
  ByteWriter out = begin_request(Request::place_at);
  out.put(static_cast<std::uint8_t>(instruction));
  out.put(hook.value);
  return command(out.bytes());
}

Result<> ProbeClient::watch_user_pages(PageOracle oracle) {
  {
    const std::lock_guard lock(oracle_mutex_);
    oracle_ = std::move(oracle);
  }
  if (!oracle_thread_.joinable())
    oracle_thread_ = std::jthread([this](const std::stop_token& stop) { answer_questions(stop); });
  ByteWriter out = begin_request(Request::watch_user_pages);
  out.put(std::uint8_t{1});
  return command(out.bytes());
}

Result<> ProbeClient::unload(HookId id) {
  ByteWriter out = begin_request(Request::unload_hook);
  out.put(id.value);
  return command(out.bytes());
}

Result<> ProbeClient::commit() {
  if (auto asked = command(begin_request(Request::commit).bytes()); !asked) return asked;
  // Without holding up requests: a vCPU may have to be answered before it can drop its code. A
  // paused VM has no running vCPU; its code is dropped first thing when it goes on.
  const auto deadline = std::chrono::steady_clock::now() + kCommitTime;
  const std::uint32_t wanted = region_.header().commits_asked;
  auto& done = region_.header().commits_done;
  for (std::uint32_t now = done; static_cast<std::int32_t>(wanted - now) > 0; now = done) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) {
      ++late_commits_;
      break;
    }
    probe::futex_wait(done, now, std::chrono::nanoseconds(left).count());
  }
  return {};
}

Result<> ProbeClient::set_add(std::uint32_t set, std::uint64_t key) {
  ByteWriter out = begin_request(Request::set_add);
  out.put(set);
  out.put(key);
  return command(out.bytes());
}

Result<> ProbeClient::set_remove(std::uint32_t set, std::uint64_t key) {
  ByteWriter out = begin_request(Request::set_remove);
  out.put(set);
  out.put(key);
  return command(out.bytes());
}

Result<> ProbeClient::set_rate(std::uint32_t limiter, std::uint32_t per_second,
                               std::uint32_t burst) {
  ByteWriter out = begin_request(Request::set_rate);
  out.put(limiter);
  out.put(per_second);
  out.put(burst);
  return command(out.bytes());
}

Result<std::size_t> ProbeClient::poll(const RecordSink& sink, milliseconds timeout) {
  const std::size_t count = merger_->poll(sink, region_.header().record_bell, timeout);
  if (count == 0 && socket_->closed()) return fail(ErrorCode::closed, "the VM is gone");
  take_clock_anchor();
  return count;
}

void ProbeClient::take_clock_anchor() {
  const std::uint64_t now = probe::ticks();
  if (anchor_ticks_ != 0 && now - anchor_ticks_ < region_.ticks_per_second()) return;
  anchor_ticks_ = now;
  anchor_time_ = system_clock::now();
}

system_clock::time_point ProbeClient::wall_time(std::uint64_t timestamp) const {
  constexpr double kYear = 366 * 86400;  // a session's records are not older; a lie may be
  const auto distance = static_cast<std::int64_t>(timestamp - anchor_ticks_);
  const double seconds =
      std::clamp(static_cast<double>(distance) / static_cast<double>(region_.ticks_per_second()),
                 -kYear, kYear);
  return anchor_time_ +
         std::chrono::duration_cast<system_clock::duration>(std::chrono::duration<double>(seconds));
}

Result<std::vector<HookCounters>> ProbeClient::hook_counters() {
  const std::lock_guard lock(request_mutex_);
  std::vector<HookCounters> all;
  for (const HookId id : hooks_) {
    HookCounters sum{.id = id};
    for (std::uint32_t v = 0; v < region_.vcpus(); ++v) {
      const probe::HookCell& cell = region_.counters(v).hooks[id.value];
      sum.hits += cell.hits;
      sum.sent += cell.sent;
      sum.filtered += cell.filtered;
      sum.rate_limited += cell.rate_limited;
      sum.dropped += cell.dropped;
      sum.returned += cell.returned;
      sum.unreturned += cell.unreturned;
    }
    all.push_back(sum);
  }
  return all;
}

Result<ProbeCounters> ProbeClient::probe_counters() {
  ProbeCounters sum;
  for (std::uint32_t v = 0; v < region_.vcpus(); ++v) {
    const probe::ProbeCell& cell = region_.counters(v).probe;
    sum.records += cell.records;
    sum.dropped += cell.dropped;
    sum.budget += cell.budget;
    sum.page_questions += cell.page_questions;
    sum.page_timeouts += cell.page_timeouts;
    sum.overwritten += cell.overwritten;
    sum.lifted += cell.lifted;
    sum.blocks_shown += region_.counters(v).blocks.shown;
    sum.blocks_hidden += region_.counters(v).blocks.hidden;
  }
  sum.malformed = merger_->counters().malformed;
  sum.late_commits = late_commits_;
  return sum;
}

void ProbeClient::answer_questions(const std::stop_token& stop) {
  constexpr std::int64_t kPatienceNs = 100'000'000;
  auto& bell = region_.header().question_bell;
  while (!stop.stop_requested()) {
    const std::uint32_t rung = bell.load();
    for (std::uint32_t v = 0; v < region_.vcpus(); ++v) {
      probe::QuestionSlot& slot = region_.question(v);
      if (slot.state.load(std::memory_order_acquire) ==
          static_cast<std::uint32_t>(probe::QuestionState::asked))
        answer(slot, v);
    }
    if (bell.load() == rung) probe::futex_wait(bell, rung, kPatienceNs);
  }
}

void ProbeClient::answer(probe::QuestionSlot& slot, std::uint32_t vcpu) {
  const std::uint32_t size = std::min(read_once(slot.context_size), probe::kMaxContextBytes);
  const std::byte* context = slot.context.data();
  const PageQuestion question{.vcpu = vcpu,
                              .page = Gpa{slot.page},
                              .address = Gva{slot.address},
                              .space = {.root = Gpa{slot.root}, .five_level = slot.five_level != 0},
                              .content_hash = slot.hash,
                              .timestamp = slot.timestamp,
                              .context = std::vector<std::byte>(context, context + size)};
  PageSites sites;
  {
    const std::lock_guard lock(oracle_mutex_);
    sites = oracle_(question);
  }
  const auto entries = std::min<std::size_t>(sites.entries.size(), probe::kMaxSitesPerPage);
  const auto ranges = std::min<std::size_t>(sites.returns.size(), probe::kMaxSitesPerPage);
  std::copy_n(sites.entries.begin(), entries, slot.entries.begin());
  std::copy_n(sites.returns.begin(), ranges, slot.ranges.begin());
  slot.entry_count = static_cast<std::uint32_t>(entries);
  slot.range_count = static_cast<std::uint32_t>(ranges);
  slot.report_placements = sites.report_placements ? 1 : 0;
  slot.ask_again = sites.ask_again ? 1 : 0;
  auto asked = static_cast<std::uint32_t>(probe::QuestionState::asked);
  // The vCPU may have given up meanwhile; then the answer is void.
  if (slot.state.compare_exchange_strong(
          asked, static_cast<std::uint32_t>(probe::QuestionState::answered)))
    probe::futex_wake(slot.state);
}

}  // namespace glasshook::hypervisor
