// What went over each socket, told when it is closed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "behaviour/family.h"
#include "behaviour/network/socket_view.h"
#include "behaviour/support.h"
#include "behaviour/totals.h"

namespace glasshook::behaviour {

/// Fields network.transport, network.type, network.direction and both ends. With `ingress` the
/// other side is the source.
void add_connection(Event& event, const SocketView& socket, bool ingress);

/// Sockets by the address of their struct sock. Memory is bounded: when kMost are held, all are
/// told and begun anew.
class Connections {
 public:
  static constexpr std::size_t kMost = 50'000;
  using Time = std::chrono::system_clock::time_point;

  /// A connection stands; told as closed even when nothing goes over it.
  void opened(const Call& call, const SocketView& socket, bool ingress, Context& context);
  void sent(const Call& call, const SocketView& socket, std::uint64_t bytes, Context& context);
  void received(const Call& call, const SocketView& socket, std::uint64_t bytes, Context& context);
  void closed(std::uint64_t sock, Time now, Context& context);
  void process_exited(const Process& process, Time now, Context& context);
  void tell_all(Time now, Context& context);

  /// True when the socket is known to be on its way to that peer.
  [[nodiscard]] bool is_open(std::uint64_t sock, const Endpoint& remote) const;

 private:
  struct Connection {
    std::shared_ptr<const Process> process;  ///< the last that used it
    ProcessKey key;
    std::uint32_t thread_id = 0;
    SocketView socket;
    bool ingress = false;
    Time begun, used;
    std::uint64_t sent = 0, received = 0;
  };

  Connection& touch(const Call& call, const SocketView& socket, Context& context);
  Connection take(std::unordered_map<std::uint64_t, Connection>::iterator at);
  void forget_user(const Connection& connection);
  static void tell(const Connection& connection, Time now, Context& context);

  std::unordered_map<std::uint64_t, Connection> open_;
  std::map<ProcessKey, std::unordered_set<std::uint64_t>> sockets_of_;
};

}  // namespace glasshook::behaviour
