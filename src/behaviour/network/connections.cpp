#include "behaviour/network/connections.h"

#include <algorithm>
#include <vector>

namespace glasshook::behaviour {

void add_connection(Event& event, const SocketView& socket, bool ingress) {
  add(event, "network.transport", std::string{socket.transport()});
  if (socket.remote.known()) add(event, "network.type", socket.remote.is_ipv6() ? "ipv6" : "ipv4");
  add(event, "network.direction", ingress ? "ingress" : "egress");
  add_endpoint(event, kSource, ingress ? socket.remote : socket.local);
  add_endpoint(event, kDestination, ingress ? socket.local : socket.remote);
}

Connections::Connection& Connections::touch(const Call& call, const SocketView& socket,
                                            Context& context) {
  if (open_.size() >= kMost && !open_.contains(socket.address)) tell_all(call.time(), context);
  const auto [found, is_new] = open_.try_emplace(socket.address);
  Connection& connection = found->second;
  if (is_new) {
    connection.socket = socket;
    connection.begun = call.time();
  }
  const ProcessKey key = key_of(call);
  if (is_new || connection.key != key) {
    if (!is_new) forget_user(connection);
    connection.key = key;
    sockets_of_[key].insert(socket.address);
  }
  connection.process = call.process();
  connection.thread_id = call.thread_id();
  connection.used = call.time();
  return connection;
}

void Connections::opened(const Call& call, const SocketView& socket, bool ingress,
                         Context& context) {
  closed(socket.address, call.time(), context);  // one whose closing was not seen
  touch(call, socket, context).ingress = ingress;
}

void Connections::sent(const Call& call, const SocketView& socket, std::uint64_t bytes,
                       Context& context) {
  touch(call, socket, context).sent += bytes;
}

void Connections::received(const Call& call, const SocketView& socket, std::uint64_t bytes,
                           Context& context) {
  Connection& connection = touch(call, socket, context);
  // Who gets a datagram before sending one is the server.
  if (socket.datagram && connection.sent + connection.received == 0) connection.ingress = true;
  connection.received += bytes;
}

bool Connections::is_open(std::uint64_t sock, const Endpoint& remote) const {
  const auto found = open_.find(sock);
  return found != open_.end() && found->second.socket.remote == remote;
}

void Connections::forget_user(const Connection& connection) {
  const auto of = sockets_of_.find(connection.key);
  if (of == sockets_of_.end()) return;
  of->second.erase(connection.socket.address);
  if (of->second.empty()) sockets_of_.erase(of);
}

Connections::Connection Connections::take(
    std::unordered_map<std::uint64_t, Connection>::iterator at) {
  Connection connection = std::move(at->second);
  open_.erase(at);
  forget_user(connection);
  return connection;
}

void Connections::closed(std::uint64_t sock, Time now, Context& context) {
  const auto found = open_.find(sock);
  if (found != open_.end()) tell(take(found), now, context);
}

void Connections::process_exited(const Process& process, Time now, Context& context) {
  const auto of = sockets_of_.find(key_of(process));
  if (of == sockets_of_.end()) return;
  std::vector<Connection> gone;
  const std::unordered_set<std::uint64_t> sockets = of->second;
  for (const std::uint64_t sock : sockets) gone.push_back(take(open_.find(sock)));
  std::ranges::sort(gone, {}, &Connection::begun);
  for (const Connection& connection : gone) tell(connection, now, context);
}

void Connections::tell_all(Time now, Context& context) {
  std::vector<Connection> all;
  for (auto& [sock, connection] : open_) all.push_back(std::move(connection));
  open_.clear();
  sockets_of_.clear();
  std::ranges::sort(all, {}, &Connection::begun);
  for (const Connection& connection : all) tell(connection, now, context);
}

void Connections::tell(const Connection& c, Time now, Context& context) {
  Event event = make_event("network_closed");
  event.process = c.process;
  event.thread_id = c.thread_id;
  event.time = now;
  add_connection(event, c.socket, c.ingress);
  add_number(event, "source.bytes", c.ingress ? c.received : c.sent);
  add_number(event, "destination.bytes", c.ingress ? c.sent : c.received);
  add_number(event, "network.bytes", c.sent + c.received);
  add(event, "event.start", iso_time(c.begun));
  add(event, "event.end", iso_time(c.used));
  context.emit(std::move(event));
}

}  // namespace glasshook::behaviour
