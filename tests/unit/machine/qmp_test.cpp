#include "machine/qmp.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/un.h>

#include <thread>

#include "scratch.h"

namespace glasshook::machine {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr std::string_view kGreeting =
    R"({"QMP": {"version": {"qemu": {"major": 10}}, "capabilities": []}})"
    "\r\n";

/// A QEMU that says fixed things: one text each time a line has come in.
class FakeQemu {
 public:
  explicit FakeQemu(std::vector<std::string> answers) : answers_(std::move(answers)) {
    thread_ = std::jthread([this] { serve(); });
  }
  UniqueFd client() { return std::move(sockets_.ours); }
  std::vector<std::string> heard() {
    thread_.join();
    return heard_;
  }

 private:
  void serve() {
    say(std::string(kGreeting));
    for (const std::string& answer : answers_) {
      std::string line;
      char c = 0;
      while (::recv(sockets_.theirs.get(), &c, 1, 0) == 1 && c != '\n') line += c;
      heard_.push_back(line);
      say(answer);
    }
    sockets_.theirs.reset();
  }
  void say(const std::string& text) {
    // In pieces, so that messages arrive split anywhere.
    for (std::size_t at = 0; at < text.size(); at += 7)
      (void)!::send(sockets_.theirs.get(), text.data() + at,
                    std::min<std::size_t>(7, text.size() - at), MSG_NOSIGNAL);
  }

  Sockets sockets_;
  std::vector<std::string> answers_;
  std::vector<std::string> heard_;
  std::jthread thread_;
};

std::string returns(int id, std::string_view value) {
  return fmt::format("{{\"return\": {}, \"id\": {}}}\r\n", value, id);
}

TEST(Qmp, NegotiatesAndExecutes) {
  FakeQemu qemu({returns(1, "{}"), returns(2, R"({"status": "running"})")});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client) << client.error().message;
  const auto reply = (*client)->execute("query-status", R"({"deep":true})", soon());
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_STREQ((*reply)["status"].GetString(), "running");
  client->reset();
  const auto heard = qemu.heard();
  EXPECT_THAT(heard[0], HasSubstr("qmp_capabilities"));
  EXPECT_EQ(heard[1], "{\"execute\":\"query-status\",\"id\":2,\"arguments\":{\"deep\":true}}\r");
}

TEST(Qmp, QueuesEventsThatComeBeforeAReply) {
  FakeQemu qemu({returns(1, "{}"),
                 R"({"event": "STOP"})"
                 "\r\n"
                 R"({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}})"
                 "\r\n" +
                     returns(2, "{}")});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  ASSERT_TRUE((*client)->execute("stop", "", soon()));
  auto event = (*client)->next_event(soon());
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->name, "STOP");
  EXPECT_EQ((*event)->text("reason"), "");
  event = (*client)->next_event(soon());
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->name, "SHUTDOWN");
  EXPECT_EQ((*event)->text("reason"), "guest-reset");
  EXPECT_EQ((*event)->text("guest"), "");
}

TEST(Qmp, PassesOnErrorsOfCommands) {
  FakeQemu qemu({returns(1, "{}"),
                 R"({"error": {"class": "GenericError", "desc": "no such disk"}, "id": 2})"
                 "\r\n"});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  const auto reply = (*client)->execute("eject", "", soon());
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::io);
  EXPECT_EQ(reply.error().message, "eject: no such disk");
}

TEST(Qmp, TimesOutAndIgnoresTheLateReply) {
  FakeQemu qemu({returns(1, "{}"), "", returns(2, R"("late")") + returns(3, R"("right")")});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  const auto late = (*client)->execute("slow", "", in(milliseconds(20)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::timeout);
  EXPECT_THAT(late.error().message, HasSubstr("slow"));
  const auto reply = (*client)->execute("quick", "", soon());
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_STREQ(reply->GetString(), "right");
}

TEST(Qmp, NoEventByTheDeadlineIsNoError) {
  FakeQemu qemu({returns(1, "{}"), ""});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  const auto event = (*client)->next_event(in(milliseconds(20)));
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->has_value());
  client->reset();
}

TEST(Qmp, NoticesThatQemuIsGone) {
  FakeQemu qemu({returns(1, "{}")});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  qemu.heard();
  const auto reply = (*client)->execute("cont", "", soon());
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::closed);
}

TEST(Qmp, RefusesWhatIsNotQmp) {
  for (const std::string_view first : {"SSH-2.0-OpenSSH\r\n", "[1]\n", "{\"hello\": 1}\n", "\n"}) {
    Sockets sockets;
    ASSERT_GT(::send(sockets.theirs.get(), first.data(), first.size(), 0), 0);
    const auto client = QmpClient::adopt(std::move(sockets.ours), soon());
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code, ErrorCode::protocol) << first;
  }
}

TEST(Qmp, RefusesAnEndlessMessage) {
  Sockets sockets;
  std::jthread talker([fd = sockets.theirs.get()] {
    const std::string zeros(65536, '0');
    while (::send(fd, zeros.data(), zeros.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  const auto client = QmpClient::adopt(std::move(sockets.ours), soon());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ErrorCode::protocol);
}

TEST(Qmp, AnswerWithoutResultOrWithDeepNestingIsAnError) {
  for (const std::string& answer :
       {std::string(R"({"id": 2})") + "\n", std::string(1'000'000, '[') + "\n"}) {
    FakeQemu qemu({returns(1, "{}"), answer});
    auto client = QmpClient::adopt(qemu.client(), soon());
    ASSERT_TRUE(client);
    const auto reply = (*client)->execute("stop", "", soon());
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, ErrorCode::protocol);
  }
}

TEST(Qmp, ForgetsTheOldestEventsOfAFlood) {
  std::string flood;
  for (std::size_t i = 0; i < QmpClient::kMaxEvents + 10; ++i)
    flood += fmt::format("{{\"event\": \"E{}\"}}\n", i);
  FakeQemu qemu({returns(1, "{}"), flood + returns(2, "{}")});
  auto client = QmpClient::adopt(qemu.client(), soon());
  ASSERT_TRUE(client);
  ASSERT_TRUE((*client)->execute("cont", "", soon()));
  const auto event = (*client)->next_event(soon());
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->name, "E10");
}

TEST(Qmp, ConnectsToASocketThatAppearsLate) {
  const Scratch scratch;
  const auto path = scratch.path() / "qmp";
  std::jthread server([&] {
    std::this_thread::sleep_for(milliseconds(30));
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
    ASSERT_GT(::send(peer.get(), kGreeting.data(), kGreeting.size(), 0), 0);
    char c = 0;
    while (::recv(peer.get(), &c, 1, 0) == 1 && c != '\n') {
    }
    const std::string answer = returns(1, "{}");
    ASSERT_GT(::send(peer.get(), answer.data(), answer.size(), 0), 0);
  });
  EXPECT_TRUE(QmpClient::connect(path, soon()));
}

TEST(Qmp, SaysWhatItCannotConnectTo) {
  const auto missing = QmpClient::connect("/no/such/socket", in(milliseconds(20)));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("/no/such/socket"));
  EXPECT_FALSE(QmpClient::connect(std::string(200, 'x'), soon()));
}

TEST(JsonQuoted, EscapesEverything) {
  EXPECT_EQ(json_quoted("a\"b\\\n\x01"), R"("a\"b\\\n\u0001")");
}

}  // namespace
}  // namespace glasshook::machine
