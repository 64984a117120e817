#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/un.h>

#include <cerrno>
#include <random>

#include "behaviour/fake_guest.h"
#include "behaviour/network/connections.h"
#include "behaviour/network/dns_question.h"
#include "behaviour/network/endpoint.h"

namespace glasshook::behaviour {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string sockaddr4(const char* ip, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, ip, &address.sin_addr);
  return bytes_of(address);
}

std::string sockaddr6(const char* ip, std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  ::inet_pton(AF_INET6, ip, &address.sin6_addr);
  return bytes_of(address);
}

std::uint64_t ip4(const char* ip) {
  in_addr address{};
  ::inet_pton(AF_INET, ip, &address);
  return address.s_addr;
}

/// The captures of an IPv4 socket.
std::vector<Captured> sock4(std::uint64_t sock, const char* local, std::uint16_t local_port,
                            const char* remote, std::uint16_t remote_port, std::uint64_t type = 1) {
  return {{"sock", sock},
          {"family", AF_INET},
          {"type", type},
          {"local_port", local_port},
          {"remote_port", htons(remote_port)},
          {"local_ip", ip4(local)},
          {"remote_ip", ip4(remote)}};
}

std::vector<Captured> operator+(std::vector<Captured> a, const std::vector<Captured>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class NetworkFamilyTest : public ::testing::Test {
 protected:
  void connect(std::uint64_t sock, const std::string& address, std::int64_t result) {
    guest.call("inet_stream_connect", true, a,
               sock4(sock, "10.0.2.15", 40000, "0.0.0.0", 0) +
                   std::vector<Captured>{{"address", address},
                                         {"result", static_cast<std::uint64_t>(result)}});
  }

  FakeGuest guest{"network"};
  Caller a{.process = make_process(10)};
};

TEST_F(NetworkFamilyTest, ConnectTransferClose) {
  connect(1, sockaddr4("93.184.216.34", 443), 0);
  Event event = guest.only();
  EXPECT_EQ(event.action, "network_connected");
  EXPECT_EQ(text_of(event, "destination.ip"), "93.184.216.34");
  EXPECT_EQ(text_of(event, "destination.port"), "443");
  EXPECT_EQ(text_of(event, "source.ip"), "10.0.2.15");
  EXPECT_EQ(text_of(event, "network.transport"), "tcp");
  EXPECT_EQ(text_of(event, "network.type"), "ipv4");
  EXPECT_EQ(text_of(event, "event.outcome"), "success");

  const auto sock = sock4(1, "10.0.2.15", 40000, "93.184.216.34", 443);
  for (int i = 0; i < 2; ++i)
    guest.call("tcp_sendmsg", true, a, sock + std::vector<Captured>{{"bytes", 100}});
  guest.call("tcp_recvmsg", true, a, sock + std::vector<Captured>{{"bytes", 5000}});
  EXPECT_THAT(guest.events, IsEmpty());
  guest.call("inet_release", false, a, {{"sock", 1}});
  event = guest.only();
  EXPECT_EQ(event.action, "network_closed");
  EXPECT_EQ(text_of(event, "source.bytes"), "200");
  EXPECT_EQ(text_of(event, "destination.bytes"), "5000");
  EXPECT_EQ(text_of(event, "network.bytes"), "5200");
  EXPECT_EQ(text_of(event, "destination.port"), "443");
  guest.call("inet_release", false, a, {{"sock", 1}});
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST_F(NetworkFamilyTest, PendingAndFailedConnects) {
  connect(1, sockaddr4("10.0.0.1", 80), -EINPROGRESS);
  EXPECT_EQ(text_of(guest.only(), "event.outcome"), "unknown");
  for (const int result : {-EALREADY, -EISCONN, 0, -512})  // asked again
    connect(1, sockaddr4("10.0.0.1", 80), result);
  EXPECT_THAT(guest.events, IsEmpty());
  connect(2, sockaddr4("10.0.0.1", 81), -ECONNREFUSED);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "event.outcome"), "failure");
  EXPECT_EQ(text_of(event, "glasshook.error"), "ECONNREFUSED");
  guest.family().on_end(guest);
  EXPECT_THAT(guest.actions(), ElementsAre("network_closed"));
}

TEST_F(NetworkFamilyTest, UnixSockets) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/run/x.sock");
  connect(1, bytes_of(address), 0);
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "network.transport"), "unix");
  EXPECT_EQ(text_of(event, "destination.address"), "/run/x.sock");
  EXPECT_EQ(event.find("source.ip"), nullptr);
  connect(1, bytes_of(address), -ENOENT);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.call("unix_listen", true, a, {{"address", bytes_of(address)}});
  event = guest.only();
  EXPECT_EQ(text_of(event, "server.address"), "/run/x.sock");
}

TEST_F(NetworkFamilyTest, UnknownFamiliesAreNoConnections) {
  connect(1, std::string("\x10\0\0\0\0\0\0\0", 8), 0);  // AF_NETLINK
  connect(1, "", 0);
  connect(1, std::string("\x02\0\0", 3), 0);
  connect(1, sockaddr4("1.2.3.4", 5), -ENOTSOCK);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST_F(NetworkFamilyTest, AcceptedConnectionsComeFromTheOtherSide) {
  const auto sock = sock4(9, "10.0.2.15", 22, "192.168.1.5", 50000);
  guest.call("inet_csk_listen_start", true, a, sock4(8, "0.0.0.0", 22, "0.0.0.0", 0));
  Event event = guest.only();
  EXPECT_EQ(text_of(event, "server.ip") + ":" + text_of(event, "server.port"), "0.0.0.0:22");
  guest.call("inet_csk_accept", true, a, sock);
  event = guest.only();
  EXPECT_EQ(text_of(event, "source.ip"), "192.168.1.5");
  EXPECT_EQ(text_of(event, "destination.port"), "22");
  EXPECT_EQ(text_of(event, "network.direction"), "ingress");
  guest.call("tcp_recvmsg", true, a, sock + std::vector<Captured>{{"bytes", 7}});
  guest.family().on_process_exit(a.process, guest);
  event = guest.only();
  EXPECT_EQ(text_of(event, "source.bytes"), "7");
  EXPECT_EQ(text_of(event, "destination.bytes"), "0");
}

TEST_F(NetworkFamilyTest, DatagramsTakeThePeerFromTheMessage) {
  guest.call("udp_sendmsg", true, a,
             sock4(3, "0.0.0.0", 5000, "0.0.0.0", 0, 2) +
                 std::vector<Captured>{{"bytes", 11}, {"peer", sockaddr4("8.8.4.4", 123)}});
  guest.family().on_end(guest);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "network.transport"), "udp");
  EXPECT_EQ(text_of(event, "destination.ip"), "8.8.4.4");
  EXPECT_EQ(text_of(event, "source.bytes"), "11");
}

TEST_F(NetworkFamilyTest, ASocketThatChangesHandsIsToldOnce) {
  Caller b{.process = make_process(11)};
  const auto sock = sock4(9, "10.0.2.15", 22, "192.168.1.5", 50000);
  guest.call("inet_csk_accept", true, a, sock);
  guest.events.clear();
  guest.call("tcp_sendmsg", true, b, sock + std::vector<Captured>{{"bytes", 1}});
  guest.family().on_process_exit(a.process, guest);
  EXPECT_THAT(guest.events, IsEmpty());
  guest.family().on_process_exit(b.process, guest);
  EXPECT_EQ(guest.only().process, b.process);
}

TEST_F(NetworkFamilyTest, MemoryIsBounded) {
  for (std::uint64_t sock = 1; sock <= Connections::kMost + 1; ++sock)
    guest.call("tcp_sendmsg", true, a,
               sock4(sock, "1.1.1.1", 1, "2.2.2.2", 2) + std::vector<Captured>{{"bytes", 1}});
  EXPECT_EQ(guest.events.size(), Connections::kMost);
}

std::string dns_query(std::string_view name, std::uint8_t type = 1) {
  std::string message("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  message += name;
  message += std::string("\0\0", 2);
  message += static_cast<char>(type);
  return message + std::string("\0\x01", 2);
}

TEST_F(NetworkFamilyTest, DnsQueriesFromEitherIterator) {
  for (const bool buffer : {false, true}) {
    guest.call(
        "udp_sendmsg", false, a,
        sock4(3, "10.0.2.15", 5000, "10.0.2.3", 53, 2) +
            std::vector<Captured>{{"iterator", buffer ? 6u : 0u},
                                  {"buffer_iterator", 6},
                                  {buffer ? "from_buffer" : "from_vector", dns_query("\x07"
                                                                                     "example\x03"
                                                                                     "com",
                                                                                     28)},
                                  {buffer ? "from_vector" : "from_buffer", "junk"}},
        1);
    const Event event = guest.only();
    EXPECT_EQ(event.action, "dns_queried");
    EXPECT_EQ(text_of(event, "dns.question.name"), "example.com");
    EXPECT_EQ(text_of(event, "dns.question.type"), "AAAA");
    EXPECT_EQ(text_of(event, "dns.id"), "4660");
    EXPECT_EQ(text_of(event, "destination.ip"), "10.0.2.3");
    EXPECT_EQ(text_of(event, "destination.port"), "53");
  }
  guest.call("udpv6_sendmsg", false, a, {{"from_vector", "no dns at all"}}, 2);
  EXPECT_THAT(guest.events, IsEmpty());
}

TEST(DnsQuestion, Names) {
  EXPECT_EQ(parse_dns_question(dns_query(""))->name, ".");
  EXPECT_EQ(parse_dns_question(dns_query("\x03"
                                         "a.b\x01"
                                         "c"))
                ->name,
            "a\\.b.c");
  EXPECT_EQ(parse_dns_question(dns_query(std::string("\x02\xff\0", 3)))->name,
            std::string("\xff\0", 2));
  EXPECT_EQ(parse_dns_question(dns_query("\x01"
                                         "a",
                                         200))
                ->type,
            "TYPE200");
}

TEST(DnsQuestion, RefusesWhatIsNoQuery) {
  const std::string good = dns_query("\x03www\x03org");
  ASSERT_TRUE(parse_dns_question(good));
  for (std::size_t cut = 0; cut < good.size() - 2; ++cut)
    EXPECT_FALSE(parse_dns_question(good.substr(0, cut))) << cut;
  std::string answer = good;
  answer[2] = '\x81';
  EXPECT_FALSE(parse_dns_question(answer));
  std::string none = good;
  none[5] = 0;
  EXPECT_FALSE(parse_dns_question(none));
  EXPECT_FALSE(parse_dns_question(dns_query("\xc0\x0c")));  // a pointer to itself
  std::string endless;
  for (int i = 0; i < 200; ++i) endless += "\x01x";
  EXPECT_FALSE(parse_dns_question(dns_query(endless)));
  std::string longest;
  for (int i = 0; i < 126; ++i) longest += "\x01x";
  EXPECT_TRUE(parse_dns_question(dns_query(longest)));
}

TEST(DnsQuestion, SurvivesRandomBytes) {
  std::mt19937 random{3};
  for (int round = 0; round < 20'000; ++round) {
    std::string message(random() % 300, '\0');
    for (char& c : message) c = static_cast<char>(random());
    if (message.size() > 12) message.replace(0, 6, std::string("\0\1\1\0\0\1", 6));
    const auto question = parse_dns_question(message);
    EXPECT_LE(question ? question->name.size() : 0, 512u);
  }
}

TEST(Endpoint, ParsesAddresses) {
  EXPECT_EQ(parse_sockaddr(sockaddr6("2001:db8::1", 80)).ip, "2001:db8::1");
  EXPECT_EQ(parse_sockaddr(sockaddr6("::ffff:1.2.3.4", 80)).ip, "1.2.3.4");
  EXPECT_EQ(parse_sockaddr(sockaddr6("::1", 80).substr(0, 24)).port, 80);
  EXPECT_FALSE(parse_sockaddr(sockaddr6("::1", 80).substr(0, 23)).known());
  EXPECT_FALSE(parse_sockaddr(sockaddr4("1.2.3.4", 80).substr(0, 15)).known());
  EXPECT_FALSE(parse_sockaddr("\x01").known());
  const Endpoint abstract = parse_sockaddr(std::string("\1\0\0abs\0x", 8));
  EXPECT_EQ(abstract.path, std::string("@abs\0x", 6));
  EXPECT_TRUE(parse_sockaddr(std::string("\1\0", 2)).is_unix);
}

}  // namespace
}  // namespace glasshook::behaviour
