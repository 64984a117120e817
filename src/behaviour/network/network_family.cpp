#include "behaviour/network/network_family.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "behaviour/network/connections.h"
#include "behaviour/network/dns_question.h"
#include "behaviour/network/socket_view.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

// Every hook here but the last two begins with the socket captures.
enum Connect { kConnectAddress = kSocketCaptures, kConnectResult };
enum Transfer { kTransferBytes = kSocketCaptures, kTransferPeer };
enum Dns {
  kDnsPeer = kSocketCaptures,
  kDnsIterator,
  kDnsBufferIterator,
  kDnsFromVector,
  kDnsFromBuffer
};
enum UnixListen { kUnixAddress };
enum Release { kReleaseSock };

/// include/linux/errno.h: ERESTARTSYS to ERESTART_RESTARTBLOCK. The program never sees them: the
/// call is made once more.
bool will_restart(std::int64_t result) { return result <= -512 && result >= -516; }

/// A sockaddr_in6 and a bit.
constexpr std::uint32_t kMaxPeer = 32;

std::vector<hook::Capture> socket_and(const std::string& sock, std::vector<hook::Capture> more) {
  std::vector<hook::Capture> captures = socket_captures(sock);
  for (hook::Capture& capture : more) captures.push_back(std::move(capture));
  return captures;
}

/// One hook a kind of socket: what these share, __sys_connect_file(), leaves by a jump through a
/// pointer, so its return cannot be seen.
hook::HookSpec connect_hook(const char* function, const char* sock) {
  return at_exit({function}, {}, {},
                 socket_and(sock, {bytes("address", "uaddr ?? addr", "addr_len ?? alen", 128),
                                   word("result", "ret")}));
}

hook::HookSpec transfer_hook(const char* function) {
  return at_exit({function}, {}, {"ret > 0"}, socket_and("sk", {word("bytes", "ret")}));
}

/// Sockets without a connection name the peer with each datagram. An IPv6 socket that talks IPv4
/// goes through both functions, so each looks only at its own kind.
hook::HookSpec datagram_hook(const char* function, const char* family) {
  return at_exit({function}, {std::string("sk->__sk_common.skc_family == ") + family}, {"ret > 0"},
                 socket_and("sk", {word("bytes", "ret"),
                                   bytes("peer", "msg->msg_name", "msg->msg_namelen", kMaxPeer)}));
}

/// Datagrams to port 53 (0x3500 in network order), named in the message or by a connected socket.
hook::HookSpec dns_hook(const char* function, const char* family, bool connected) {
  std::vector<std::string> when = {std::string("sk->__sk_common.skc_family == ") + family};
  if (connected) {
    when.push_back("msg->msg_name == 0");
    when.push_back("sk->__sk_common.skc_dport == 0x3500");
  } else {
    when.push_back("msg->msg_name != 0");
    when.push_back("((struct sockaddr_in *)msg->msg_name)->sin_port == 0x3500");
  }
  constexpr std::uint32_t kMaxQuestion = 512;
  return at_entry(
      {function}, std::move(when),
      socket_and("sk", {bytes("peer", "msg->msg_name", "msg->msg_namelen", kMaxPeer),
                        word("iterator", "msg->msg_iter.iter_type ?? msg->msg_iter.type"),
                        word("buffer_iterator", "ITER_UBUF ?? 255"),
                        bytes("from_vector",
                              "msg->msg_iter.__iov->iov_base ?? msg->msg_iter.iov->iov_base", "len",
                              kMaxQuestion),
                        bytes("from_buffer", "msg->msg_iter.ubuf ?? 0", "len", kMaxQuestion)}));
}

class NetworkFamily final : public TableFamily<NetworkFamily> {
 public:
  [[nodiscard]] std::string_view name() const override { return "network"; }
  [[nodiscard]] std::string_view description() const override {
    return "connections made, awaited, accepted and closed with totals; DNS queries";
  }
  /// Nothing tells it by Windows' own names.
  [[nodiscard]] bool on_by_default(Platform) const override { return true; }

  static std::vector<Rule> rules() {
    std::vector<Rule> all = {
        {connect_hook("inet_stream_connect", "sock->sk"), &NetworkFamily::on_connect},
        {connect_hook("ip4_datagram_connect", "sk"), &NetworkFamily::on_connect},
        {optional(connect_hook("ip6_datagram_connect", "sk")), &NetworkFamily::on_connect},
        {connect_hook("unix_stream_connect", "sock->sk"), &NetworkFamily::on_connect},
        {connect_hook("unix_dgram_connect", "sock->sk"), &NetworkFamily::on_connect},
        {at_exit({"inet_csk_listen_start"}, {}, {"ret == 0"}, socket_captures("sk")),
         &NetworkFamily::on_listen},
        {at_exit({"inet_csk_accept"}, {}, {"ret != 0"}, socket_captures("ret")),
         &NetworkFamily::on_accept},
        {transfer_hook("tcp_sendmsg"), &NetworkFamily::on_sent},
        {optional(transfer_hook("tcp_sendpage")), &NetworkFamily::on_sent},
        {transfer_hook("tcp_recvmsg"), &NetworkFamily::on_received},
        {at_exit({"tcp_splice_read"}, {}, {"ret > 0"},
                 socket_and("sock->sk", {word("bytes", "ret")})),
         &NetworkFamily::on_received},
    };
    // AF_INET and AF_INET6.
    for (const auto& [send, receive, bind, family] :
         {std::array{"udp_sendmsg", "udp_recvmsg", "__inet_bind", "2"},
          std::array{"udpv6_sendmsg", "udpv6_recvmsg", "__inet6_bind", "10"}}) {
      all.push_back({datagram_hook(send, family), &NetworkFamily::on_sent});
      all.push_back({datagram_hook(receive, family), &NetworkFamily::on_received});
      all.push_back({dns_hook(send, family, true), &NetworkFamily::on_dns});
      all.push_back({dns_hook(send, family, false), &NetworkFamily::on_dns});
      all.push_back({at_exit({bind}, {"sk->sk_type == 2"}, {"ret == 0"}, socket_captures("sk")),
                     &NetworkFamily::on_listen});
    }
    const std::string address = "((struct unix_sock *)sock->sk)->addr";
    all.push_back({at_exit({"unix_listen"}, {}, {"ret == 0"},
                           {bytes("address", address + "->name", address + "->len", 128)}),
                   &NetworkFamily::on_unix_listen});
    all.push_back({at_entry({"inet_release"}, {"sock->sk != 0"}, {word("sock", "sock->sk")}),
                   &NetworkFamily::on_release});
    return all;
  }

  void on_process_exit(const std::shared_ptr<const Process>& process, Context& context) override {
    if (process) connections_.process_exited(*process, now(), context);
  }
  void on_end(Context& context) override { connections_.tell_all(now(), context); }

 private:
  void on_connect(const Call& call, Context& context) {
    SocketView socket = socket_view(call, 0);
    socket.remote = parse_sockaddr(call.text(kConnectAddress));
    const auto result = static_cast<std::int64_t>(call.word(kConnectResult));
    // Asking again how a pending connection is doing makes no new one.
    const bool again = result == -EALREADY || result == -EISCONN || will_restart(result) ||
                       (result == 0 && connections_.is_open(socket.address, socket.remote));
    if (!socket.remote.known() || again || result == -ENOTSOCK) return;

    const bool pending = result == -EINPROGRESS || result == -EINTR;
    // Programs look for local services that are not there all the time.
    if (socket.remote.is_unix && result != 0 && !pending) return;
    Event event = make_event("network_connected");
    if (socket.remote.is_unix) {
      add(event, "network.transport", "unix");
      add_endpoint(event, kDestination, socket.remote);
    } else {
      add_connection(event, socket, false);
    }
    add(event, "event.outcome", result == 0 ? "success" : pending ? "unknown" : "failure");
    if (result != 0) add(event, "glasshook.error", error_name(result));
    context.emit(call, std::move(event));
    if ((result == 0 || pending) && !socket.remote.is_unix)
      connections_.opened(call, socket, false, context);
  }

  void on_listen(const Call& call, Context& context) {
    const SocketView socket = socket_view(call, 0);
    Event event = make_event("network_listening");
    add(event, "network.transport", std::string{socket.transport()});
    add_endpoint(event, kServer, socket.local);
    context.emit(call, std::move(event));
  }

  void on_unix_listen(const Call& call, Context& context) {
    Event event = make_event("network_listening");
    add(event, "network.transport", "unix");
    add_endpoint(event, kServer, parse_sockaddr(call.text(kUnixAddress)));
    context.emit(call, std::move(event));
  }

  void on_accept(const Call& call, Context& context) {
    const SocketView socket = socket_view(call, 0);
    Event event = make_event("network_accepted");
    add_connection(event, socket, true);
    context.emit(call, std::move(event));
    connections_.opened(call, socket, true, context);
  }

  /// The socket, with the peer that a datagram named.
  static SocketView with_peer(const Call& call, std::size_t peer_capture) {
    SocketView socket = socket_view(call, 0);
    if (const Endpoint peer = parse_sockaddr(call.text(peer_capture)); peer.known())
      socket.remote = peer;
    return socket;
  }

  void on_sent(const Call& call, Context& context) {
    connections_.sent(call, with_peer(call, kTransferPeer), call.word(kTransferBytes), context);
  }

  void on_received(const Call& call, Context& context) {
    connections_.received(call, with_peer(call, kTransferPeer), call.word(kTransferBytes), context);
  }

  void on_release(const Call& call, Context& context) {
    connections_.closed(call.word(kReleaseSock), call.time(), context);
  }

  void on_dns(const Call& call, Context& context) {
    const bool buffer = call.word(kDnsIterator) == call.word(kDnsBufferIterator);
    const std::optional<DnsQuestion> question =
        parse_dns_question(call.text(buffer ? kDnsFromBuffer : kDnsFromVector));
    if (!question) return;
    Event event = make_event("dns_queried");
    add(event, "dns.type", "query");
    add(event, "dns.id", std::to_string(question->id));
    add(event, "dns.question.name", question->name);
    add(event, "dns.question.type", question->type);
    add_connection(event, with_peer(call, kDnsPeer), false);
    context.emit(call, std::move(event));
  }

  Connections connections_;
};

}  // namespace

std::unique_ptr<Family> make_network_family() { return std::make_unique<NetworkFamily>(); }

}  // namespace glasshook::behaviour
