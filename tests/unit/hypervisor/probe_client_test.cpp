// Monitor and probe, joined by a real socket and real shared memory, without a hypervisor.
#include "hypervisor/attached/probe_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <thread>

#include "capture/builder.h"
#include "hypervisor/probe/control_server.h"
#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/probe/seqpacket.h"
#include "probe_memory.h"

namespace glasshook::hypervisor {
namespace {

using capture::CpuRegister;
using capture::Reg;
using std::chrono::milliseconds;

/// A probe without a hypervisor: the test makes the hits.
class BareProbe : public probe::ControlTarget {
 public:
  BareProbe() {
    const auto ring = probe::SharedRegion::ring_bytes_for(1 << 16);
    const auto size = probe::SharedRegion::size_for(2, ring);
    region_fd = sealed_memory(static_cast<off_t>(size));
    const int writable_ram = sealed_memory(1 << 20);
    ram_fd = open_again(writable_ram, O_RDONLY);
    auto* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd, 0);
    bytes = {static_cast<std::byte*>(at), size};
    region = probe::SharedRegion::create(bytes, 2, ring, probe::measure_ticks_per_second());
    auto* ram_at = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, writable_ram, 0);
    close(writable_ram);
    ram_bytes = {static_cast<std::byte*>(ram_at), 1 << 20};
    ram.add({.begin = Gpa{0}, .size = 1 << 20, .host = ram_bytes.data()});
    environment.ram = &ram;
    runner = std::make_unique<probe::HitRunner>(region, environment);
  }
  ~BareProbe() override {
    munmap(bytes.data(), bytes.size());
    munmap(ram_bytes.data(), ram_bytes.size());
    close(region_fd);
    close(ram_fd);
  }

  Result<Welcome> attach(Tier) override {
    runner->set_enabled(true);
    return Welcome{.capabilities = {.backend = "bare",
                                    .user_pages = true,
                                    .instructions = true,
                                    .max_sites = 7,
                                    .write_protected = true},
                   .ram = {{.gpa = 0, .size = 1 << 20, .file_offset = 0}},
                   .region_fd = region_fd,
                   .ram_fd = ram_fd};
  }
  void detach() override {
    runner->set_enabled(false);
    hooks.unload_all();
    ++detached;
  }
  Result<> set_kernel_space(AddressSpace space) override {
    environment.kernel_space = space;
    return {};
  }
  Result<> set_return_thunks(std::vector<Gva> list) override {
    thunks = std::move(list);
    return {};
  }
  Result<> set_context_program(capture::Program) override { return {}; }
  Result<> load(HookPrograms hook) override { return hooks.load(std::move(hook)); }
  Result<> unload(HookId id) override { return hooks.unload(id); }
  Result<> place(Gpa page, const PageSites& sites) override {
    placed[page] = sites;
    return {};
  }
  Result<> place_at(PrivilegedInstruction instruction, HookId hook) override {
    instructions[instruction] = hook;
    return {};
  }
  Result<> watch_user_pages(bool on) override {
    watching = on;
    return {};
  }
  Result<> commit() override {
    if (!can_commit)
      return with_remedy(fail(ErrorCode::unsupported, "no commit here"), "do without");
    ++region.header().commits_asked;
    return {};
  }
  Result<> set_add(std::uint32_t, std::uint64_t) override { return {}; }
  Result<> set_remove(std::uint32_t, std::uint64_t) override { return {}; }
  Result<> set_rate(std::uint32_t, std::uint32_t, std::uint32_t) override { return {}; }

  void hit(std::uint32_t vcpu, HookId id, std::uint64_t rdi, std::uint64_t rsp) {
    runner->enter(*hooks.find(id), cpu(vcpu, rdi, rsp), interrupted);
  }
  /// Maps user address 0x10000 to RAM 0x10000 and makes hits there have these tables.
  void map_stack() {
    const auto entry = [&](std::uint64_t at, std::uint64_t value) {
      std::memcpy(ram_bytes.data() + at, &value, sizeof value);
    };
    constexpr std::uint64_t kRights = 7;
    for (const std::uint64_t table : {0x1000, 0x2000, 0x3000})
      entry(table, (table + 0x1000) | kRights);
    entry(0x4000 + 0x10 * 8, 0x10000 | kRights);
    root = 0x1000;
  }
  void return_to(std::uint64_t rsp, std::uint64_t address) {
    std::memcpy(ram_bytes.data() + rsp, &address, sizeof address);
  }
  void ret(std::uint32_t vcpu, std::uint64_t rax, std::uint64_t rsp) {
    auto state = cpu(vcpu, 0, rsp);
    state.gpr[0] = rax;
    runner->leave(state);
  }
  capture::CpuState cpu(std::uint32_t vcpu, std::uint64_t rdi, std::uint64_t rsp) {
    capture::CpuState state;
    state.vcpu = vcpu;
    state.gpr[7] = rdi;
    state.gpr[4] = rsp;
    state.space.root = Gpa{root};
    return state;
  }

  std::uint64_t root = 0;
  bool interrupted = false;
  std::atomic<bool> can_commit{false};
  int region_fd = -1, ram_fd = -1;
  std::span<std::byte> bytes, ram_bytes;
  probe::SharedRegion region;
  GuestRam ram;
  capture::Environment environment;
  probe::HookTable hooks;
  std::unique_ptr<probe::HitRunner> runner;
  std::map<PrivilegedInstruction, HookId> instructions;
  std::map<Gpa, PageSites> placed;
  std::vector<Gva> thunks;
  std::atomic<bool> watching{false};
  std::atomic<int> detached{0};
};

HookPrograms argument_hook(std::uint32_t id, bool with_return) {
  capture::Builder entry(capture::ProgramRole::entry);
  entry.load_cpu(Reg{0}, CpuRegister::rdi).emit_words(16, Reg{0}, 1);
  if (with_return) entry.arm_return();
  entry.send();
  HookPrograms hook{.id = {id}, .entry = *entry.build(), .on_return = {}};
  if (with_return) {
    capture::Builder exit(capture::ProgramRole::exit);
    exit.load_cpu(Reg{0}, CpuRegister::rax).emit_words(17, Reg{0}, 1).send();
    hook.on_return = *exit.build();
  }
  return hook;
}

class ProbeClientTest : public testing::Test {
 protected:
  ProbeClientTest() {
    // The server thread lives as long as the process, so each test leaks its probe on purpose.
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("glasshook-test-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    EXPECT_TRUE(probe::ControlServer::start(path_, probe_));
    client_ = connect();
  }
  ~ProbeClientTest() override { std::filesystem::remove(path_); }
  std::unique_ptr<ProbeClient> connect() {
    auto client = ProbeClient::connect(path_, milliseconds(2000));
    EXPECT_TRUE(client) << (client ? "" : client.error().message);
    return client ? std::move(*client) : nullptr;
  }
  /// Records as (kind, first word of the first field).
  std::vector<std::pair<capture::RecordKind, std::uint64_t>> drain() {
    std::vector<std::pair<capture::RecordKind, std::uint64_t>> seen;
    (void)client_->poll(
        [&](const capture::RecordView& r) {
          flags_ |= r.header().flags;
          seen.emplace_back(r.header().kind, r.fields().empty() ? 0 : r.fields()[0].word(0));
        },
        milliseconds(200));
    return seen;
  }

  BareProbe& probe_ = *new BareProbe;
  std::string path_;
  std::unique_ptr<ProbeClient> client_;
  std::uint8_t flags_ = 0;  ///< of all records seen
};

TEST_F(ProbeClientTest, BeforeTheHelloNothingIsDone) {
  client_.reset();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  probe_.can_commit = true;
  ByteWriter request;
  request.put(static_cast<std::uint32_t>(probe::Request::commit));
  ASSERT_TRUE(probe::send_message(fd, request.bytes(), {}));
  std::vector<std::byte> reply;
  ASSERT_TRUE(probe::receive_message(fd, reply, nullptr));
  EXPECT_FALSE(probe::decode_reply(reply));
  EXPECT_EQ(probe_.region.header().commits_asked, 0u);
  close(fd);
}

TEST_F(ProbeClientTest, TellsWhatTheProbeCanDo) {
  const Capabilities capabilities = client_->capabilities();
  EXPECT_EQ(capabilities.backend, "bare");
  EXPECT_EQ(capabilities.vcpus, 2u);
  EXPECT_TRUE(capabilities.user_pages);
  EXPECT_FALSE(capabilities.returns);
  EXPECT_EQ(capabilities.max_sites, 7u);
  EXPECT_FALSE(capabilities.hidden_from_reads);
  EXPECT_TRUE(capabilities.write_protected);
}

TEST_F(ProbeClientTest, CapturesEntryAndReturnAcrossVcpus) {
  ASSERT_TRUE(client_->load(argument_hook(3, true)));
  probe_.hit(0, {3}, 41, 0x7f00);
  probe_.ret(1, 42, 0x7f00);
  const auto seen = drain();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0], std::pair(capture::RecordKind::entry, std::uint64_t{41}));
  EXPECT_EQ(seen[1], std::pair(capture::RecordKind::exit, std::uint64_t{42}));
  const auto counters = client_->hook_counters();
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters->at(0).hits, 1u);
  EXPECT_EQ(counters->at(0).sent, 1u);
  EXPECT_EQ(counters->at(0).returned, 1u);
}

TEST_F(ProbeClientTest, AFrameThatWasLeftWithoutReturningBelongsToTheNextCall) {
  ASSERT_TRUE(client_->load(argument_hook(3, true)));
  ASSERT_TRUE(client_->load(argument_hook(4, true)));
  probe_.map_stack();
  probe_.return_to(0x10100, 0x401000);
  probe_.hit(0, {3}, 1, 0x10100);
  // longjmp; another function is called with the same stack pointer from elsewhere.
  probe_.return_to(0x10100, 0x402000);
  probe_.hit(0, {4}, 2, 0x10100);
  probe_.ret(0, 42, 0x10100);
  using capture::RecordKind;
  using Seen = std::pair<RecordKind, std::uint64_t>;
  EXPECT_THAT(drain(),
              testing::ElementsAre(Seen{RecordKind::entry, 1}, Seen{RecordKind::exit, 0},
                                   Seen{RecordKind::entry, 2}, Seen{RecordKind::exit, 42}));
  EXPECT_EQ(flags_, capture::kRecordGivenUp) << "of the call that was left";
  EXPECT_EQ(client_->hook_counters()->at(0).unreturned, 1u);
}

TEST_F(ProbeClientTest, AReturnToElsewhereIsNotThisCalls) {
  ASSERT_TRUE(client_->load(argument_hook(3, true)));
  probe_.map_stack();
  probe_.return_to(0x10100, 0x401000);
  probe_.hit(0, {3}, 1, 0x10100);
  probe_.return_to(0x10100, 0x402000);  // of a function that nobody hooked
  probe_.ret(0, 42, 0x10100);
  EXPECT_EQ(drain().size(), 1u);
  probe_.return_to(0x10100, 0x401000);
  probe_.ret(0, 7, 0x10100);
  EXPECT_EQ(drain().size(), 1u);
}

TEST_F(ProbeClientTest, TailCallsReturnTogether) {
  ASSERT_TRUE(client_->load(argument_hook(3, true)));
  ASSERT_TRUE(client_->load(argument_hook(4, true)));
  probe_.map_stack();
  probe_.return_to(0x10100, 0x401000);
  probe_.hit(0, {3}, 1, 0x10100);
  probe_.hit(0, {4}, 2, 0x10100);
  probe_.ret(0, 42, 0x10100);
  EXPECT_EQ(drain().size(), 4u);
  EXPECT_EQ(flags_, 0);
}

TEST_F(ProbeClientTest, OnlyAnInterruptedEntryIsTheSameOnceMore) {
  ASSERT_TRUE(client_->load(argument_hook(3, true)));
  probe_.hit(0, {3}, 1, 0x10);
  probe_.interrupted = true;  // its first instruction faulted
  probe_.hit(1, {3}, 1, 0x10);
  EXPECT_EQ(client_->hook_counters()->at(0).hits, 1u);
  probe_.interrupted = false;  // the same registers in another round of a loop
  probe_.hit(0, {3}, 1, 0x10);
  EXPECT_EQ(client_->hook_counters()->at(0).hits, 2u);
}

TEST_F(ProbeClientTest, AnUnloadedHookIsDeadAtOnce) {
  ASSERT_TRUE(client_->load(argument_hook(3, false)));
  const auto placed = probe_.hooks.find({3});  // as translated code holds it
  ASSERT_TRUE(client_->unload({3}));
  probe_.runner->enter(*placed, probe_.cpu(0, 1, 0x10), false);
  EXPECT_TRUE(drain().empty());
  EXPECT_FALSE(client_->unload({4}));
}

TEST_F(ProbeClientTest, AFullRingLosesAndCounts) {
  ASSERT_TRUE(client_->load(argument_hook(3, false)));
  constexpr std::uint64_t kHits = 5000;  // more than 64 KiB hold
  for (std::uint64_t i = 0; i < kHits; ++i) probe_.hit(0, {3}, i, 0x10);
  const auto seen = drain();
  const auto counters = client_->probe_counters();
  ASSERT_TRUE(counters);
  EXPECT_GT(counters->dropped, 0u);
  EXPECT_EQ(seen.size() + counters->dropped, kHits);
}

TEST_F(ProbeClientTest, UnverifiableProgramsAreRefusedByTheProbe) {
  HookPrograms hook{.id = {9}, .entry = {}, .on_return = {}};
  hook.entry.code.push_back({.op = capture::Op::jump, .offset = 100});
  EXPECT_FALSE(client_->load(hook));
  EXPECT_EQ(probe_.hooks.find({9}), nullptr);
}

TEST_F(ProbeClientTest, ErrorsTravelWithTheirRemedy) {
  const auto result = client_->commit();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::unsupported);
  EXPECT_EQ(result.error().remedy, "do without");
}

TEST_F(ProbeClientTest, ACommitThatNoVcpuSeesToIsCountedAsLate) {
  probe_.can_commit = true;
  EXPECT_TRUE(client_->commit());
  EXPECT_EQ(client_->probe_counters()->late_commits, 1u);
  probe_.region.header().commits_done = 2;  // what the vCPUs do with the next in time
  EXPECT_TRUE(client_->commit());
  EXPECT_EQ(client_->probe_counters()->late_commits, 1u);
}

TEST_F(ProbeClientTest, SitesArriveAsSent) {
  PageSites sites;
  sites.entries = {{.offset = 16, .hook = {3}}, {.offset = 4095, .hook = {4}}};
  sites.returns = {{.begin = 0, .end = 4096}};
  ASSERT_TRUE(client_->place(Gpa{0x3000}, sites));
  ASSERT_EQ(probe_.placed.count(Gpa{0x3000}), 1u);
  EXPECT_EQ(probe_.placed[Gpa{0x3000}].entries[1].offset, 4095);
  EXPECT_EQ(probe_.placed[Gpa{0x3000}].returns[0].end, 4096);
}

TEST_F(ProbeClientTest, InstructionsArriveAsSent) {
  EXPECT_TRUE(client_->capabilities().instructions);
  ASSERT_TRUE(client_->place_at(PrivilegedInstruction::load_idt, {9}));
  EXPECT_EQ(probe_.instructions.at(PrivilegedInstruction::load_idt), HookId{9});
  EXPECT_FALSE(client_->place_at(PrivilegedInstruction::count_, {9}));
  EXPECT_EQ(probe_.instructions.size(), 1u);
}

TEST_F(ProbeClientTest, QuestionsAreAnsweredThroughSharedMemory) {
  PageQuestion asked;
  ASSERT_TRUE(client_->watch_user_pages([&](const PageQuestion& q) {
    asked = q;
    PageSites sites;
    sites.entries.push_back({.offset = 0x123, .hook = {7}});
    sites.ask_again = true;
    return sites;
  }));
  auto& slot = probe_.region.question(1);
  slot.page = 0x5000;
  slot.address = 0x401000;
  slot.hash = 99;
  slot.context_size = 0xffffffff;  // a hostile size is cut
  slot.state = static_cast<std::uint32_t>(probe::QuestionState::asked);
  probe_.region.header().question_bell.fetch_add(1);
  probe::futex_wake(probe_.region.header().question_bell);
  for (int i = 0; i < 200 && slot.state == 1; ++i) probe::futex_wait(slot.state, 1, 10'000'000);
  ASSERT_EQ(slot.state, static_cast<std::uint32_t>(probe::QuestionState::answered));
  EXPECT_EQ(asked.vcpu, 1u);
  EXPECT_EQ(asked.page, Gpa{0x5000});
  EXPECT_EQ(asked.context.size(), probe::kMaxContextBytes);
  ASSERT_EQ(slot.entry_count, 1u);
  EXPECT_EQ(slot.entries[0].offset, 0x123);
  EXPECT_EQ(slot.ask_again, 1u);
}

TEST_F(ProbeClientTest, WhenAskingHasStoppedTheOracleHasEndedAndIsNotCalledAgain) {
  std::atomic<int> begun{0}, ended{0};
  ASSERT_TRUE(client_->watch_user_pages([&](const PageQuestion&) {
    ++begun;
    usleep(50'000);
    // An oracle may use the hypervisor to the end.
    EXPECT_TRUE(client_->set_rate(1, 10, 10));
    ++ended;
    return PageSites{};
  }));
  auto& slot = probe_.region.question(0);
  const auto ask = [&] {
    slot.state = static_cast<std::uint32_t>(probe::QuestionState::asked);
    probe_.region.header().question_bell.fetch_add(1);
    probe::futex_wake(probe_.region.header().question_bell);
  };
  ask();
  for (int i = 0; i < 10'000 && begun == 0; ++i) usleep(1000);
  client_->stop_asking();
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(ended, 1);
  ask();
  usleep(10'000);
  EXPECT_EQ(begun, 1);
  ASSERT_TRUE(client_->watch_user_pages([&](const PageQuestion&) {
    ++begun;
    return PageSites{};
  })) << "one can begin again, with the question that waits";
  for (int i = 0; i < 200 && begun == 1; ++i) usleep(10'000);
  EXPECT_EQ(begun, 2);
}

TEST_F(ProbeClientTest, AHitThatBeganInAnEarlierSessionIsNotSent) {
  ASSERT_TRUE(client_->load(argument_hook(3, false)));
  auto& ring = *reinterpret_cast<capture::RingHeader*>(probe_.region.ring(0).data());
  probe_.hit(0, {3}, 1, 0x10);
  const std::uint64_t record = ring.head - ring.tail;
  while (ring.head - ring.tail + record <= ring.data_size) probe_.hit(0, {3}, 1, 0x10);
  const std::uint64_t full = ring.head;
  std::thread vcpu([&] { probe_.hit(0, {3}, 2, 0x10); });  // waits for room
  usleep(20'000);
  probe_.runner->set_enabled(false);
  probe_.runner->set_enabled(true);
  ring.tail = full;
  vcpu.join();
  EXPECT_EQ(ring.head, full);
  probe_.hit(0, {3}, 3, 0x10);
  EXPECT_EQ(ring.head, full + record);
}

TEST_F(ProbeClientTest, TheProbeDisarmsWhenTheMonitorDiesAndTakesTheNext) {
  ASSERT_TRUE(client_->load(argument_hook(3, false)));
  const auto placed = probe_.hooks.find({3});
  probe_.hit(0, {3}, 77, 0x10);  // is not read any more
  client_.reset();
  for (int i = 0; i < 200 && probe_.detached == 0; ++i) usleep(10'000);
  EXPECT_EQ(probe_.detached, 1);
  probe_.runner->enter(*placed, probe_.cpu(0, 1, 0x10), false);  // does nothing
  client_ = connect();
  ASSERT_TRUE(client_);
  ASSERT_TRUE(client_->load(argument_hook(3, false)));
  probe_.hit(0, {3}, 5, 0x10);
  const auto seen = drain();
  ASSERT_EQ(seen.size(), 1u) << "not what the first left";
  EXPECT_EQ(seen[0].second, 5u);
}

TEST_F(ProbeClientTest, GuestRamIsReadOnlyAndShared) {
  probe_.ram_bytes[0x2000] = std::byte{0xab};
  std::byte value{};
  EXPECT_TRUE(client_->memory().read(Gpa{0x2000}, std::span{&value, 1}));
  EXPECT_EQ(value, std::byte{0xab});
  EXPECT_FALSE(client_->memory().read(Gpa{1 << 20}, std::span{&value, 1}));
}

TEST_F(ProbeClientTest, GuestRamCannotBeMadeWritable) {
  const int ram = probe_.ram_fd;  // what the monitor gets
  const auto map = [&](int rights) { return mmap(nullptr, 4096, rights, MAP_SHARED, ram, 0); };
  EXPECT_EQ(map(PROT_READ | PROT_WRITE), MAP_FAILED);
  void* readable = map(PROT_READ);
  ASSERT_NE(readable, MAP_FAILED);
  EXPECT_NE(mprotect(readable, 4096, PROT_READ | PROT_WRITE), 0);
  munmap(readable, 4096);
  EXPECT_LT(pwrite(ram, "x", 1, 0), 0);
  EXPECT_NE(fallocate(ram, 3, 0, 4096), 0) << "a hole in guest RAM";
  EXPECT_NE(ftruncate(ram, 0), 0);
  const auto* mine = client_->memory().view(Gpa{0x2000}, kPageSize).data();
  ASSERT_NE(mine, nullptr);
  EXPECT_NE(mprotect(const_cast<std::byte*>(mine), kPageSize, PROT_READ | PROT_WRITE), 0);
}

/// What another user hears at the socket: 'r' refused by the file system, 'h' hung up, 'a' an
/// answer.
char heard_by_another_user(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0)
      _exit('x');
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      _exit(errno == EACCES ? 'r' : 'x');
    const std::uint32_t hello[] = {1, probe::kProtocolVersion};
    (void)send(fd, hello, sizeof hello, MSG_NOSIGNAL);
    char answer = 0;
    _exit(recv(fd, &answer, 1, 0) > 0 ? 'a' : 'h');
  }
  int status = 0;
  waitpid(child, &status, 0);
  return static_cast<char>(WEXITSTATUS(status));
}

TEST_F(ProbeClientTest, AnotherUserIsTurnedAwayTwice) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can come as another user";
  client_.reset();  // one monitor at a time
  EXPECT_EQ(heard_by_another_user(path_), 'r') << "the socket's mode is 0600";
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  EXPECT_EQ(heard_by_another_user(path_), 'h') << "who comes is asked who he is";
  EXPECT_NE(connect(), nullptr) << "the same user is still served";
}

TEST(ControlServer, AdoptsOnlyAConnection) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  BareProbe bare;
  EXPECT_FALSE(probe::ControlServer::adopt(pipe[0], bare));
  for (const int fd : pipe) close(fd);
}

TEST(ControlServer, ServesTheOneAtTheOtherEndAndNobodyAfterHim) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  static auto& bare = *new BareProbe;  // the server's thread may outlive the test
  ASSERT_TRUE(probe::ControlServer::adopt(ends[1], bare));
  auto client = ProbeClient::adopt(ends[0]);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_TRUE((*client)->load(argument_hook(3, false)));
  client->reset();
  for (int i = 0; i < 2000 && bare.detached == 0; ++i) usleep(1000);
  EXPECT_EQ(bare.detached, 1);
}

TEST(ProbeClient, SaysWhereItLookedForAProbe) {
  const auto client = ProbeClient::connect("/nonexistent/socket", milliseconds(1));
  ASSERT_FALSE(client);
  EXPECT_NE(client.error().message.find("/nonexistent/socket"), std::string::npos);
  EXPECT_FALSE(client.error().remedy.empty());
}

}  // namespace
}  // namespace glasshook::hypervisor
