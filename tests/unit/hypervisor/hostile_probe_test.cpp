// What a QEMU that the guest has taken over can do to the monitor: the test is the probe.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <thread>

#include "base/bytes.h"
#include "hypervisor/attached/probe_client.h"
#include "hypervisor/probe/control_server.h"
#include "hypervisor/probe/hit_runner.h"
#include "hypervisor/probe/protocol.h"
#include "hypervisor/probe/seqpacket.h"
#include "probe_memory.h"

namespace glasshook::hypervisor {
namespace {

using probe::RamPiece;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr std::uint64_t kRam = 1 << 20;
constexpr std::uint32_t kVcpus = 2;

/// What the probe says and gives when the monitor comes.
struct Welcome {
  std::string backend = "hostile";
  std::vector<RamPiece> ram{{.gpa = 0, .size = kRam, .file_offset = 0}};
  std::optional<std::uint32_t> claimed_pieces;
  std::vector<int> fds;
};

class HostileProbe : public testing::Test {
 protected:
  HostileProbe() {
    const auto ring = probe::SharedRegion::ring_bytes_for(1 << 16);
    const auto size = probe::SharedRegion::size_for(kVcpus, ring);
    region_fd_ = sealed_memory(static_cast<off_t>(size));
    ram_writable_ = sealed_memory(kRam);
    ram_fd_ = open_again(ram_writable_, O_RDONLY);
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd_, 0);
    bytes_ = {static_cast<std::byte*>(at), size};
    region_ = probe::SharedRegion::create(bytes_, kVcpus, ring, probe::measure_ticks_per_second());
    for (std::uint32_t v = 0; v < kVcpus; ++v)
      producers_.push_back(*capture::RingProducer::create(region_.ring(v), nullptr));
    welcome_.fds = {region_fd_, ram_fd_};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()), 0);
  }
  ~HostileProbe() override {
    client_.reset();
    if (peer_.joinable()) peer_.join();
    munmap(bytes_.data(), bytes_.size());
    for (const int fd : {region_fd_, ram_fd_, ram_writable_, ends_[1]}) close(fd);
  }

  /// Lets the monitor come; `later` gets each further request's socket.
  Result<void> attach(std::function<bool(int)> later = [](int) { return false; }) {
    peer_ = std::thread([this, later] {
      std::vector<std::byte> message;
      if (!probe::receive_message(ends_[1], message, nullptr)) return;
      ByteWriter reply;
      reply.put(std::uint32_t{0});
      Capabilities capabilities;
      capabilities.backend = welcome_.backend;
      probe::encode_capabilities(capabilities, reply);
      reply.put(welcome_.claimed_pieces.value_or(static_cast<std::uint32_t>(welcome_.ram.size())));
      for (const RamPiece& piece : welcome_.ram) reply.put(piece);
      (void)probe::send_message(ends_[1], reply.bytes(), welcome_.fds);
      while (probe::receive_message(ends_[1], message, nullptr) && later(ends_[1])) {
      }
      shutdown(ends_[1], SHUT_RDWR);
    });
    auto client = ProbeClient::adopt(ends_[0]);
    if (!client) return std::unexpected(client.error());
    client_ = std::move(*client);
    return {};
  }
  std::string refused() {
    const auto attached = attach();
    return attached ? "" : attached.error().message;
  }

  capture::RingHeader& ring(std::uint32_t vcpu) {
    return *reinterpret_cast<capture::RingHeader*>(region_.ring(vcpu).data());
  }
  std::byte* data(std::uint32_t vcpu) {
    return region_.ring(vcpu).data() + sizeof(capture::RingHeader);
  }
  void push(std::uint32_t vcpu, std::uint64_t timestamp) {
    capture::RecordHeader header{};
    header.size = sizeof header;
    header.kind = capture::RecordKind::entry;
    header.timestamp = timestamp;
    producers_[vcpu].push(std::as_writable_bytes(std::span{&header, 1}));
  }
  std::size_t take() {
    std::size_t seen = 0;
    for (int i = 0; i < 50; ++i) {
      const auto got = client_->poll([&](const capture::RecordView&) { ++seen; }, milliseconds(1));
      if (!got) break;
    }
    return seen;
  }
  std::uint64_t malformed() { return client_->probe_counters()->malformed; }

  std::array<int, 2> ends_{};
  int region_fd_ = -1, ram_fd_ = -1, ram_writable_ = -1;
  std::span<std::byte> bytes_;
  probe::SharedRegion region_;
  std::vector<capture::RingProducer> producers_;
  Welcome welcome_;
  std::thread peer_;
  std::unique_ptr<ProbeClient> client_;
};

// ---- the welcome ----

TEST_F(HostileProbe, ANameThatDrivesTheTerminal) {
  welcome_.backend = "\x1b[2Jqemu";
  EXPECT_EQ(refused(), "the probe does not say what it is");
}

TEST_F(HostileProbe, ANameWithoutEnd) {
  welcome_.backend.assign(100'000, 'a');
  EXPECT_EQ(refused(), "the probe does not say what it is");
}

TEST_F(HostileProbe, AnHonestOneIsTaken) {
  ASSERT_EQ(refused(), "");
  push(0, probe::ticks());
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(malformed(), 0u);
}

TEST_F(HostileProbe, TooFewAndTooManyDescriptors) {
  welcome_.fds = {region_fd_};
  EXPECT_THAT(refused(), HasSubstr("sent no memory"));
}

TEST_F(HostileProbe, TooManyDescriptorsAreClosed) {
  welcome_.fds = {region_fd_, ram_fd_, ram_fd_, ram_fd_};
  const int before = dup(ram_fd_);
  close(before);
  EXPECT_THAT(refused(), HasSubstr("sent no memory"));
  peer_.join();
  ends_[0] = dup(ram_fd_);  // the lowest free number: the client's socket, and nothing it kept
  EXPECT_LE(ends_[0], before);
  close(ends_[0]);
}

TEST_F(HostileProbe, DescriptorsOfAnotherKind) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  const int device = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  for (const int wrong : {pipe[0], device}) {
    welcome_.fds = {wrong, ram_fd_};
    EXPECT_THAT(refused(), HasSubstr("taken away"));
    peer_.join();
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()), 0);
  }
  for (const int fd : {pipe[0], pipe[1], device}) close(fd);
}

TEST_F(HostileProbe, MemoryThatCouldShrinkUnderTheMonitor) {
  const int unsealed = memfd_create("region", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(unsealed, static_cast<off_t>(bytes_.size())), 0);
  welcome_.fds = {unsealed, ram_fd_};
  EXPECT_THAT(refused(), HasSubstr("taken away"));
  close(unsealed);
}

TEST_F(HostileProbe, RamThatTheMonitorCouldWrite) {
  welcome_.fds = {region_fd_, ram_writable_};
  EXPECT_THAT(refused(), HasSubstr("write to the guest"));
}

struct BadRam {
  const char* name;
  std::vector<RamPiece> pieces;
};

class HostileRam : public HostileProbe, public testing::WithParamInterface<BadRam> {};

TEST_P(HostileRam, IsRefused) {
  welcome_.ram = GetParam().pieces;
  EXPECT_NE(refused(), "");
}

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max() - 0xfff;
INSTANTIATE_TEST_SUITE_P(
    Layouts, HostileRam,
    testing::Values(BadRam{"none", {}},
                    BadRam{"overlapping", {{0, 0x2000, 0}, {0x1000, 0x2000, 0x2000}}},
                    BadRam{"the_same_twice", {{0, 0x1000, 0}, {0, 0x1000, 0}}},
                    BadRam{"larger_than_its_file", {{0, kRam * 2, 0}}},
                    BadRam{"beyond_its_file", {{0, 0x1000, kRam}}}, BadRam{"huge", {{0, kHuge, 0}}},
                    BadRam{"around_the_end_of_memory", {{kHuge, 0x2000, 0}}},
                    BadRam{"a_huge_offset", {{0, 0x1000, kHuge}}}, BadRam{"no_size", {{0, 0, 0}}},
                    BadRam{"no_whole_pages", {{0x10, 0x1000, 0}}},
                    BadRam{"many", std::vector<RamPiece>(9, {0, 0x1000, 0})}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(HostileProbe, APieceCountThatLies) {
  welcome_.claimed_pieces = 0xffffffff;
  EXPECT_NE(refused(), "");
}

class HostileRegion : public HostileProbe, public testing::WithParamInterface<int> {};

TEST_P(HostileRegion, ALayoutThatLiesIsRefused) {
  probe::RegionHeader& header = region_.header();
  switch (GetParam()) {
    case 0:
      header.magic = 0;
      break;
    case 1:
      header.version = 0xffffffff;
      break;
    case 2:
      header.vcpus = 0;
      break;
    case 3:
      header.vcpus = 0xffffffff;
      break;
    case 4:
      header.vcpus = probe::kMaxVcpus;  // more than lie in the memory
      break;
    case 5:
      header.ring_bytes = 0;
      break;
    case 6:
      header.ring_bytes = kHuge;
      break;
    case 7:
      header.ring_bytes += 1;
      break;
    case 8:
      header.ticks_per_second = 1;
      break;
    case 9:
      header.ticks_per_second = std::numeric_limits<std::uint64_t>::max();
      break;
    case 10:
      ring(0).magic = 0;
      break;
    case 11:
      ring(1).data_size = 3;
      break;
    case 12:
      ring(1).data_size = 1ull << 62;
      break;
    default:
      FAIL();
  }
  EXPECT_NE(refused(), "");
}
INSTANTIATE_TEST_SUITE_P(Fields, HostileRegion, testing::Range(0, 13));

// ---- the rings ----

TEST_F(HostileProbe, TheLayoutIsNotReadAgain) {
  ASSERT_EQ(refused(), "");
  std::memset(bytes_.data(), 0xff, sizeof(probe::RegionHeader));
  ring(0).data_size = 1ull << 62;
  ring(1).magic = 0;
  push(0, probe::ticks());
  EXPECT_EQ(take(), 1u);
}

TEST_F(HostileProbe, PositionsThatRunBackwardsOrFarAhead) {
  ASSERT_EQ(refused(), "");
  push(0, probe::ticks());
  EXPECT_EQ(take(), 1u);
  std::uint64_t expected = 0;
  for (const std::uint64_t head : {std::uint64_t{0}, std::uint64_t{8}, kHuge,
                                   std::uint64_t{1} << 63, std::uint64_t{0x7fff'ffff'ffff'fff9}}) {
    ring(0).head = head;
    EXPECT_EQ(take(), 0u) << head;
    EXPECT_EQ(malformed(), ++expected) << head;
  }
}

TEST_F(HostileProbe, RecordsWithLyingSizes) {
  ASSERT_EQ(refused(), "");
  std::uint64_t head = 0, before = 0;
  for (const std::uint32_t size :
       {0u, 1u, 7u, 8u, 0x10000u, 0xffffffffu, 0xfffffff8u, 0x80000000u}) {
    std::memcpy(data(0) + head % (1 << 16), &size, sizeof size);
    head += 64;
    ring(0).head = head;
    EXPECT_EQ(take(), 0u) << size;
    EXPECT_GT(malformed(), before) << size;
    before = malformed();
  }
}

TEST_F(HostileProbe, NonsenseInEveryByteOfTheSharedMemory) {
  ASSERT_EQ(refused(), "");
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    for (std::uint32_t v = 0; v < kVcpus; ++v)
      for (int i = 0; i < 4096; ++i) data(v)[random() % (1 << 16)] = std::byte(random());
    std::memcpy(region_.ring(round % 2).data() + 64, data(0) + random() % 1024, 128);
    for (std::uint32_t v = 0; v < kVcpus; ++v) ring(v).head += random() % 5000;
    (void)client_->poll([](const capture::RecordView&) {}, milliseconds(0));
  }
  std::memset(bytes_.data(), 0xff, bytes_.size());
  (void)client_->poll([](const capture::RecordView&) {}, milliseconds(0));
  EXPECT_GT(malformed(), 0u);
  EXPECT_TRUE(client_->hook_counters());
}

TEST_F(HostileProbe, RecordsChangedWhileTheyAreRead) {
  ASSERT_EQ(refused(), "");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::mt19937 random(11);
    while (!stop) {
      const std::uint32_t size = random() % 0x20000;
      for (std::size_t at = 0; at < 1 << 16; at += 64)
        std::memcpy(data(0) + at, &size, sizeof size);
      ring(0).head.fetch_add(64);
      ring(0).tail = random();
    }
  });
  // The writer has to get its turn.
  for (int i = 0; i < 2000 || (malformed() == 0 && i < 10'000'000); ++i)
    (void)client_->poll(
        [](const capture::RecordView& record) {
          for (const auto& field : record.fields()) (void)field.word(0);
        },
        milliseconds(0));
  stop = true;
  writer.join();
  EXPECT_GT(malformed(), 0u);
}

TEST_F(HostileProbe, AnEndlessRingIsReadInPortions) {
  ASSERT_EQ(refused(), "");
  const std::uint64_t now = probe::ticks();
  for (int i = 0; i < 500; ++i) push(0, now);
  const std::uint64_t head = ring(0).head;
  std::size_t seen = 0;
  const auto got = client_->poll(
      [&](const capture::RecordView&) {
        ++seen;
        ring(0).head = head + seen * sizeof(capture::RecordHeader);  // there is always one more
      },
      milliseconds(100));
  ASSERT_TRUE(got);
  EXPECT_LE(*got, 16384u);
}

TEST_F(HostileProbe, TimesOutOfThisWorldStayInTheCalendar) {
  ASSERT_EQ(refused(), "");
  using std::chrono::system_clock;
  const auto now = system_clock::now();
  constexpr auto kTwoYears = std::chrono::hours(2 * 366 * 24);
  for (const std::uint64_t time : {std::uint64_t{0}, std::uint64_t{1} << 62, std::uint64_t{1} << 63,
                                   std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_LT(client_->wall_time(time), now + kTwoYears) << time;
    EXPECT_GT(client_->wall_time(time), now - kTwoYears) << time;
  }
}

// ---- questions and answers ----

TEST_F(HostileProbe, EndlessQuestionsDoNotKeepTheMonitorFromEnding) {
  ASSERT_TRUE(attach([](int socket) {
    ByteWriter done;
    done.put(std::uint32_t{0});
    return probe::send_message(socket, done.bytes(), {});
  }));
  std::atomic<std::uint64_t> asked{0};
  ASSERT_TRUE(client_->watch_user_pages([&](const PageQuestion& question) {
    EXPECT_LE(question.context.size(), probe::kMaxContextBytes);
    ++asked;
    return PageSites{};
  }));
  std::atomic<bool> stop{false};
  std::thread asking([&] {
    for (std::uint64_t page = 0; !stop; page += 0x1000) {
      for (std::uint32_t v = 0; v < kVcpus; ++v) {
        auto& slot = region_.question(v);
        slot.page = page;
        slot.context_size = static_cast<std::uint32_t>(page);
        slot.state = static_cast<std::uint32_t>(probe::QuestionState::asked);
      }
      region_.header().question_bell.fetch_add(1);
      probe::futex_wake(region_.header().question_bell);
    }
  });
  while (asked < 1000) std::this_thread::yield();
  client_.reset();  // joins the thread that answers
  stop = true;
  asking.join();
}

TEST_F(HostileProbe, AnAnswerThatNeverEndsItsCommit) {
  ASSERT_TRUE(attach([this](int socket) {
    region_.header().commits_asked = 0x7fffffff;
    ByteWriter done;
    done.put(std::uint32_t{0});
    return probe::send_message(socket, done.bytes(), {});
  }));
  EXPECT_TRUE(client_->commit());
  EXPECT_EQ(client_->probe_counters()->late_commits, 1u);
}

TEST_F(HostileProbe, AnswersThatAreNone) {
  int answer = 0;
  ASSERT_TRUE(attach([&](int socket) {
    ByteWriter reply;
    if (answer == 0) reply.put(std::uint8_t{1});            // too short for a status
    if (answer == 1) reply.put(std::uint32_t{0xffffffff});  // an error of no kind
    if (answer == 2) {
      reply.put(std::uint32_t{1});
      reply.put(std::uint32_t{0xffffffff});  // a message longer than the reply
    }
    const int fds[] = {ram_fd_, ram_fd_, ram_fd_};  // with descriptors nobody asked for
    ++answer;
    return probe::send_message(socket, reply.bytes(), fds);
  }));
  const int before = dup(ram_fd_);
  close(before);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(client_->unload({1}));
  const int after = dup(ram_fd_);
  close(after);
  EXPECT_EQ(after, before) << "descriptors that came along are kept";
}

TEST_F(HostileProbe, HangingUpInTheMiddleIsTheEndOfTheVm) {
  ASSERT_EQ(refused(), "");
  const auto done = client_->unload({1});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::closed);
  const auto polled = client_->poll([](const capture::RecordView&) {}, milliseconds(0));
  ASSERT_FALSE(polled);
  EXPECT_EQ(polled.error().code, ErrorCode::closed);
}

}  // namespace
}  // namespace glasshook::hypervisor
