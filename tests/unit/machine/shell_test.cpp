#include "machine/shell.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <functional>
#include <thread>

#include "scratch.h"

namespace glasshook::machine {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

/// The guest's ends of the ports, and a thread that plays the guest.
class ShellTest : public ::testing::Test {
 protected:
  ShellTest() : delivery_(::memfd_create("delivery", MFD_CLOEXEC)) {
    std::array<UniqueFd, kPorts> ours;
    for (std::size_t i = 0; i < kPorts; ++i) {
      Sockets pair;
      ours[i] = std::move(pair.ours);
      guest_[i] = std::move(pair.theirs);
    }
    shell_.emplace(std::move(ours), delivery_.get(), milliseconds(50));
  }

  /// Plays the guest; the shell's end of the ports must be used before the test ends.
  void play(const std::function<void()>& guest) { thread_ = std::jthread(guest); }
  void say(Port port, std::string_view text) const {
    (void)!::send(guest_[static_cast<std::size_t>(port)].get(), text.data(), text.size(),
                  MSG_NOSIGNAL);
  }
  /// The next line the host typed.
  std::string hear() const {
    std::string line;
    char c = 0;
    while (::recv(guest_[0].get(), &c, 1, 0) == 1 && c != '\n') line += c;
    return line;
  }
  /// The nonce in a line: its only word of 32 hexadecimal digits.
  static std::string nonce_of(const std::string& line) {
    for (std::size_t at = 0; at + 32 <= line.size(); ++at)
      if (line.find_first_not_of("0123456789abcdef", at) >= at + 32) return line.substr(at, 32);
    return {};
  }
  /// Answers prepare() as a guest would; the nonce.
  std::string announce(int pid) const {
    const std::string nonce = nonce_of(hear());
    say(Port::control, fmt::format("{} pid {}\n", nonce, pid));
    return nonce;
  }
  /// Pumps until the command ends.
  Result<int> pump_to_end() {
    const Deadline deadline = soon();
    while (Clock::now() < deadline) {
      auto status = shell_->pump(
          [this](Stream stream, std::string_view text) {
            (stream == Stream::out ? out_ : err_) += text;
          },
          milliseconds(10));
      if (!status) return std::unexpected(status.error());
      if (*status) return **status;
    }
    return fail(ErrorCode::timeout, "the command did not end");
  }

  Result<std::uint32_t> prepare(const GuestCommand& command) {
    if (auto ok = shell_->deliver(command); !ok) return std::unexpected(ok.error());
    return shell_->prepare(soon());
  }

  UniqueFd delivery_;
  std::array<UniqueFd, kPorts> guest_;
  std::optional<GuestShell> shell_;
  std::string out_, err_;
  std::jthread thread_;
};

TEST_F(ShellTest, WaitsForTheGuestToAnswer) {
  play([this] {
    const std::string nonce = nonce_of(hear());
    say(Port::control, "sh: some noise\n" + nonce.substr(0, 10));
    say(Port::control, nonce.substr(10) + " ready\n");
  });
  EXPECT_TRUE(shell_->wait_ready(soon()));
}

TEST_F(ShellTest, SaysNothingBeforeABootingGuestDoes) {
  EXPECT_EQ(shell_->wait_begun(in(milliseconds(20))).error().code, ErrorCode::timeout);
  say(Port::control, "\n");
  EXPECT_TRUE(shell_->wait_begun(soon()));
  char heard = 0;
  EXPECT_LT(::recv(guest_[0].get(), &heard, 1, MSG_DONTWAIT), 0);
}

TEST_F(ShellTest, AGuestThatNeverAnswersIsATimeout) {
  const auto ready = shell_->wait_ready(in(milliseconds(20)));
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, ErrorCode::timeout);
  EXPECT_FALSE(ready.error().remedy.empty());
}

TEST_F(ShellTest, ReturnsTheStatusOfALine) {
  play([this] {
    const std::string line = hear();
    EXPECT_THAT(line, HasSubstr("mount x"));
    const std::string nonce = nonce_of(line);
    // An earlier nonce, an unfinished line and an echo of the command are no answers.
    say(Port::control,
        fmt::format("{} status 1\nsh: {} status 2: not found\n", std::string(32, 'a'), nonce));
    say(Port::control, nonce + " status 32\n");
  });
  const auto status = shell_->run_line("mount x", soon());
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(*status, 32);
}

TEST_F(ShellTest, RefusesAMalformedStatus) {
  for (const char* text : {"", "x", "7x", "99999999999999999999", "-"}) {
    play([&] { say(Port::control, fmt::format("{} status {}\n", nonce_of(hear()), text)); });
    const auto status = shell_->run_line("true", soon());
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().code, ErrorCode::protocol);
    thread_.join();
  }
}

TEST_F(ShellTest, RunsACommandAndSeparatesItsOutput) {
  play([this] {
    const std::string nonce = announce(321);
    EXPECT_EQ(hear(), "go");
    say(Port::out, "binary \x01\xff\n");
    say(Port::err, "oops");
    say(Port::control, nonce + " status 3\n");
    say(Port::out, std::string("and more") + nonce.substr(0, 5));
    say(Port::out, nonce + "-end");
    say(Port::err, nonce + "-end");
  });
  const auto pid = prepare({.argv = {"cmd"}, .environment = {}, .copies = {}});
  ASSERT_TRUE(pid) << pid.error().message;
  EXPECT_EQ(*pid, 321u);
  ASSERT_TRUE(shell_->release());
  const auto status = pump_to_end();
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(*status, 3);
  EXPECT_THAT(out_, ::testing::MatchesRegex("binary \x01\xff\nand more[0-9a-f]{5}"));
  EXPECT_EQ(err_, "oops");
}

TEST_F(ShellTest, MissingEndMarksDoNotHang) {
  play([this] {
    const std::string nonce = announce(5);
    hear();
    say(Port::out, "all there is" + nonce.substr(0, 7));
    say(Port::control, nonce + " status 137\n");
  });
  ASSERT_TRUE(prepare({.argv = {"cmd"}, .environment = {}, .copies = {}}));
  ASSERT_TRUE(shell_->release());
  const auto status = pump_to_end();
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(*status, 137);
  EXPECT_THAT(out_, ::testing::StartsWith("all there is"));
}

TEST_F(ShellTest, AGuestThatNeverStopsTalkingDoesNotHang) {
  play([this] {
    const std::string nonce = announce(5);
    hear();
    say(Port::control, nonce + " status 0\n");
    const std::string noise(4096, 'x');
    while (::send(guest_[1].get(), noise.data(), noise.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  ASSERT_TRUE(prepare({.argv = {"cmd"}, .environment = {}, .copies = {}}));
  ASSERT_TRUE(shell_->release());
  const auto status = pump_to_end();
  shell_.reset();
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(*status, 0);
}

TEST_F(ShellTest, OutputBeforeTheMachineEndsIsHandedOver) {
  play([this] {
    announce(5);
    hear();
    say(Port::out, "last words");
    say(Port::err, "and a complaint");
    for (UniqueFd& port : guest_) port.reset();
  });
  ASSERT_TRUE(prepare({.argv = {"cmd"}, .environment = {}, .copies = {}}));
  ASSERT_TRUE(shell_->release());
  thread_.join();
  const auto status = pump_to_end();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::closed);
  EXPECT_EQ(out_, "last words");
  EXPECT_EQ(err_, "and a complaint");
}

TEST_F(ShellTest, DeliversTheCommandWithEveryByteIntact) {
  const Scratch scratch;
  scratch.write("tool.sh", "#!/bin/sh\n", 0755);
  scratch.write("tool.exe", "MZ", 0644);
  std::string every_byte;
  for (int c = 1; c < 256; ++c) every_byte += static_cast<char>(c);
  play([this] { announce(1); });
  const GuestCommand command{.argv = {"printf", "%s", every_byte},
                             .directory = "/tmp",
                             .environment = {"WHO=it's me"},
                             .copies = {scratch.path() / "tool.sh"},
                             .program = scratch.path() / "tool.exe"};
  ASSERT_TRUE(prepare(command));
  // What the guest would do, here: unpack and run, with the outputs in the scratch directory.
  const auto archive = fmt::format("/proc/{}/fd/{}", ::getpid(), delivery_.get());
  ASSERT_TRUE(
      run_program({"tar", "--no-same-owner", "-xf", archive, "-C", scratch.path()}, soon()));
  EXPECT_EQ(read_all(scratch.path() / "tmp/tool.sh"), "#!/bin/sh\n");
  EXPECT_EQ(::access((scratch.path() / "tmp/tool.exe").c_str(), X_OK), 0);
  std::string script = read_all(scratch.path() / "run/guest/job");
  const auto replace = [&](std::string_view from, const std::string& to) {
    ASSERT_NE(script.find(from), std::string::npos) << from;
    script.replace(script.find(from), from.size(), to);
  };
  replace("/run/guest/stdout", scratch.path() / "out");
  replace("/run/guest/stderr", scratch.path() / "err");
  scratch.write("job", script);
  ASSERT_TRUE(run_program({"sh", scratch.path() / "job"}, soon()));
  EXPECT_EQ(read_all(scratch.path() / "out"), every_byte);
}

TEST_F(ShellTest, SaysWhatTheGuestComplainedAbout) {
  play([this] {
    const std::string nonce = nonce_of(hear());
    say(Port::control, "tar: \x1b[31mno space\n" + nonce + " status 2\n");
  });
  const auto pid = prepare({.argv = {"cmd"}, .environment = {}, .copies = {}});
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().code, ErrorCode::guest_fault);
  EXPECT_THAT(pid.error().message, HasSubstr("status 2"));
  EXPECT_THAT(pid.error().message, HasSubstr("tar: \\x1b[31mno space"));
}

TEST_F(ShellTest, RefusesCommandsThatCannotBe) {
  const auto refused = [&](const GuestCommand& command) {
    const auto pid = prepare(command);
    return pid ? "accepted" : pid.error().message;
  };
  EXPECT_THAT(refused({.argv = {}, .environment = {}, .copies = {}}), HasSubstr("no command"));
  EXPECT_THAT(refused({.argv = {"a", std::string("b\0c", 3)}, .environment = {}, .copies = {}}),
              HasSubstr("zero byte"));
  EXPECT_THAT(refused({.argv = {"a"}, .directory = "tmp", .environment = {}, .copies = {}}),
              HasSubstr("absolute path"));
  EXPECT_THAT(refused({.argv = {"a", std::string(200'000, 'x')}, .environment = {}, .copies = {}}),
              HasSubstr("too long"));
  EXPECT_THAT(refused({.argv = {"a"}, .environment = {}, .copies = {"/no/such/file"}}),
              HasSubstr("/no/such/file"));
}

TEST_F(ShellTest, AFloodOnTheControlPortIsCapped) {
  play([this] {
    const std::string nonce = nonce_of(hear());
    const std::string noise(1 << 16, 'x');
    for (int i = 0; i < 64; ++i) say(Port::control, noise);
    say(Port::control, "\n" + nonce + " status 0\n");
  });
  const auto status = shell_->run_line("true", soon());
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(*status, 0);
}

TEST_F(ShellTest, NoticesThatTheMachineIsGone) {
  for (UniqueFd& port : guest_) port.reset();
  const auto ready = shell_->wait_ready(soon());
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, ErrorCode::closed);
  const auto pumped = shell_->pump([](Stream, std::string_view) {}, milliseconds(0));
  ASSERT_FALSE(pumped);
  EXPECT_EQ(pumped.error().code, ErrorCode::closed);
}

}  // namespace
}  // namespace glasshook::machine
