#include "behaviour/windows/network_family.h"

#include <map>
#include <optional>

#include "behaviour/network/endpoint.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

/// SOCK_DGRAM (winsock2.h)
constexpr std::uint64_t kDatagram = 2;

bool is_connect(std::string_view function) {
  return function == "connect" || function == "WSAConnect";
}
bool is_accept(std::string_view function) {
  return function == "accept" || function == "WSAAccept";
}

/// An end of a connection that only the other side's program may name.
void add_connection(Event& event, std::optional<bool> datagram, bool ingress, const Endpoint& local,
                    const Endpoint& remote) {
  if (remote.is_unix)
    add(event, "network.transport", "unix");
  else if (datagram)
    add(event, "network.transport", *datagram ? "udp" : "tcp");
  if (!remote.ip.empty()) add(event, "network.type", remote.is_ipv6() ? "ipv6" : "ipv4");
  add(event, "network.direction", ingress ? "ingress" : "egress");
  add_endpoint(event, kSource, ingress ? remote : local);
  add_endpoint(event, kDestination, ingress ? local : remote);
}

/// By the functions that the program calls: what makes the connection for it, the kernel or, in
/// Wine, another process, does not matter.
class NetworkFamily final : public WindowsFamily {
 public:
  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-network"; }
  [[nodiscard]] std::string_view description() const override {
    return "connections that Windows programs make, await and accept";
  }

  [[nodiscard]] std::vector<WantedApi> apis() const override {
    return {{"ws2_32!socket"},        {"ws2_32!WSASocketA"},
            {"ws2_32!WSASocketW"},    {"ws2_32!bind"},
            {"ws2_32!getsockname"},   {"ws2_32!listen"},
            {"ws2_32!connect", true}, {"ws2_32!WSAConnect", true},
            {"ws2_32!accept", true},  {"ws2_32!WSAAccept", true},
            {"ws2_32!closesocket"}};
  }

 private:
  struct Socket {
    std::optional<bool> datagram;  ///< nothing when its making was not seen
    Endpoint local;
  };
  using SocketKey = std::pair<std::string, std::uint64_t>;  ///< entity id, handle
  /// Those beyond stay unknown.
  static constexpr std::size_t kMostSockets = 10'000;

  static SocketKey key_of(const UserCall& call, std::uint64_t handle) {
    return {call.process->entity_id, handle};
  }
  [[nodiscard]] Socket find(const UserCall& call) const {
    const auto found = sockets_.find(key_of(call, call.raw("s")));
    return found == sockets_.end() ? Socket{} : found->second;
  }
  void keep(const SocketKey& key, Socket socket) {
    if (sockets_.size() < kMostSockets || sockets_.contains(key)) sockets_[key] = std::move(socket);
  }

  void entered(const UserCall& call, Context&) override {
    if (call.process) (is_connect(call.name()) ? connects_ : accepts_).enter(call);
  }

  void returned(const UserCall& call, Context& context) override {
    if (!call.process) return;
    const std::string_view function = call.name();
    if (is_connect(function)) {
      if (connects_.leave(call)) on_connect(call, context);
    } else if (is_accept(function)) {
      if (accepts_.leave(call) && call.succeeded()) on_accept(call, context);
    } else if (call.succeeded()) {
      on_other(function, call, context);
    }
  }

  void process_ended(const Process& process, Context&) override {
    std::erase_if(sockets_, [&](const auto& s) { return s.first.first == process.entity_id; });
    connects_.process_ended(process);
    accepts_.process_ended(process);
  }

  void on_other(std::string_view function, const UserCall& call, Context& context) {
    if (function == "bind")
      on_bind(call, context);
    else if (function == "getsockname")
      on_named(call);
    else if (function == "listen")
      tell_listening(call, find(call), context);
    else if (function == "closesocket")
      sockets_.erase(key_of(call, call.raw("s")));
    else
      keep(key_of(call, call.api.result), {.datagram = call.raw("type") == kDatagram, .local = {}});
  }

  void on_bind(const UserCall& call, Context& context) {
    on_named(call);
    // A datagram socket gets what is sent to it from then on.
    if (const Socket socket = find(call); socket.datagram.value_or(false))
      tell_listening(call, socket, context);
  }

  void on_named(const UserCall& call) {
    Socket socket = find(call);
    socket.local = parse_windows_sockaddr(call.data("name"));
    keep(key_of(call, call.raw("s")), std::move(socket));
  }

  static void tell_listening(const UserCall& call, const Socket& socket, Context& context) {
    Event event = make_event("network_listening");
    const bool datagram = socket.datagram.value_or(false);
    add(event, "network.transport", socket.local.is_unix ? "unix" : datagram ? "udp" : "tcp");
    add_endpoint(event, kServer, socket.local);
    context.emit(call, std::move(event));
  }

  void on_connect(const UserCall& call, Context& context) {
    const Socket socket = find(call);
    Event event = make_event("network_connected");
    add_connection(event, socket.datagram, false, socket.local,
                   parse_windows_sockaddr(call.data("name")));
    // A socket that does not wait goes on in the background.
    const bool pending = call.api.error_name == "WSAEWOULDBLOCK" || !call.api.returned;
    add(event, "event.outcome", pending ? "unknown" : call.succeeded() ? "success" : "failure");
    if (!call.succeeded()) add_known(event, "glasshook.error", call.api.error_name);
    context.emit(call, std::move(event));
  }

  void on_accept(const UserCall& call, Context& context) {
    const Socket listening = find(call);
    Event event = make_event("network_accepted");
    add_connection(event, listening.datagram, true, listening.local,
                   parse_windows_sockaddr(call.data("addr")));
    context.emit(call, std::move(event));
    keep(key_of(call, call.api.result), listening);
  }

  std::map<SocketKey, Socket> sockets_;
  NestedCalls connects_, accepts_;
};

}  // namespace

std::unique_ptr<Family> make_network_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<NetworkFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
