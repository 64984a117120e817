// Connections of Windows programs, by the functions that they call.
#include <gmock/gmock.h>

#include "behaviour/fake_guest.h"

namespace glasshook::behaviour::windows {
namespace {

using namespace behaviour::testing;
using ::testing::IsEmpty;

/// A SOCKADDR_IN, or a SOCKADDR_IN6 for "::1".
std::string socket_address(std::string_view ip, std::uint16_t port) {
  std::string bytes = bytes_of(ip == "::1" ? 23 : 2, 2);
  bytes += {static_cast<char>(port >> 8), static_cast<char>(port & 0xff)};
  if (ip == "::1") return bytes + std::string(19, '\0') + '\1' + std::string(4, '\0');
  return bytes + "\x7f" + std::string(2, '\0') + "\1" + std::string(8, '\0');
}

class WindowsNetwork : public ::testing::Test {
 protected:
  void call(std::string_view function, const std::vector<Argument>& arguments,
            std::uint64_t result = 0) {
    ++caller.call;
    guest.user_call(function, caller, arguments, result);
  }
  /// IPv4, from 127.0.0.1.
  void bind(std::uint64_t socket, std::uint16_t port) {
    call("bind", {{"s", socket}, {"name", 1, socket_address("127.0.0.1", port)}});
  }

  FakeGuest guest{"windows-network"};
  Caller caller{.process = make_process(10), .win32_process_id = 200};
};

TEST_F(WindowsNetwork, WhatListensHasTheAddressOfItsBinding) {
  call("WSASocketW", {{"type", 1}}, 0x40);
  bind(0x40, 4444);
  EXPECT_THAT(guest.events, IsEmpty()) << "it does not listen yet";
  call("listen", {{"s", 0x40}});
  Event event = guest.only();
  EXPECT_EQ(event.action, "network_listening");
  EXPECT_EQ(text_of(event, "network.transport"), "tcp");
  EXPECT_EQ(text_of(event, "server.ip"), "127.0.0.1");
  EXPECT_EQ(text_of(event, "server.port"), "4444");
  // A port that the system chose is known when the program asks for it.
  bind(0x40, 0);
  call("getsockname", {{"s", 0x40}, {"name", 1, socket_address("127.0.0.1", 5555)}});
  call("listen", {{"s", 0x40}});
  EXPECT_EQ(text_of(guest.only(), "server.port"), "5555");
  // Datagrams are awaited without listening.
  call("socket", {{"type", 2}}, 0x44);
  bind(0x44, 53);
  event = guest.only();
  EXPECT_EQ(event.action, "network_listening");
  EXPECT_EQ(text_of(event, "network.transport"), "udp");
  // The handle is another socket's now, which is not bound.
  call("closesocket", {{"s", 0x40}});
  call("listen", {{"s", 0x40}});
  EXPECT_EQ(text_of(guest.only(), "server.port"), "(none)");
}

TEST_F(WindowsNetwork, AConnectionIsToldOnceWithWhatCameOfIt) {
  call("socket", {{"type", 1}}, 0x40);
  const std::vector<Argument> to = {{"s", 0x40}, {"name", 1, socket_address("::1", 443)}};
  guest.user_call_entered("WSAConnect", caller, to);
  guest.user_call_entered("connect", caller, to);
  guest.user_call("connect", caller, to);
  guest.user_call("WSAConnect", caller, to);
  Event event = guest.only();
  EXPECT_EQ(event.action, "network_connected");
  EXPECT_EQ(text_of(event, "network.transport"), "tcp");
  EXPECT_EQ(text_of(event, "network.type"), "ipv6");
  EXPECT_EQ(text_of(event, "network.direction"), "egress");
  EXPECT_EQ(text_of(event, "destination.ip"), "::1");
  EXPECT_EQ(text_of(event, "destination.port"), "443");
  EXPECT_EQ(text_of(event, "event.outcome"), "success");
  // Of a socket made before the watching began.
  guest.user_call("connect", caller, {{"s", 0x99}, {"name", 1, socket_address("127.0.0.1", 80)}},
                  0x80000000);
  event = guest.only();
  EXPECT_EQ(text_of(event, "event.outcome"), "failure");
  EXPECT_EQ(text_of(event, "network.transport"), "(none)");
}

TEST_F(WindowsNetwork, WhoIsAcceptedIsTheSource) {
  call("socket", {{"type", 1}}, 0x40);
  bind(0x40, 4444);
  const std::vector<Argument> from = {{"s", 0x40}, {"addr", 1, socket_address("127.0.0.1", 999)}};
  guest.user_call_entered("accept", caller, from);
  guest.user_call("accept", caller, from, 0x48);
  const Event event = guest.only();
  EXPECT_EQ(event.action, "network_accepted");
  EXPECT_EQ(text_of(event, "network.direction"), "ingress");
  EXPECT_EQ(text_of(event, "source.port"), "999");
  EXPECT_EQ(text_of(event, "destination.port"), "4444");
}

TEST_F(WindowsNetwork, AddressesThatAreNoneGiveNoAddress) {
  for (const std::string& bytes : {std::string(), std::string("\x17"), std::string("\x02\0\1", 3),
                                   std::string("\x17\0\1\2\3", 5), std::string(130, '\xff')}) {
    call("connect", {{"s", 1}, {"name", 1, bytes}});
    EXPECT_EQ(text_of(guest.only(), "destination.ip"), "(none)");
  }
}

}  // namespace
}  // namespace glasshook::behaviour::windows
