#include "behaviour/windows/request_family.h"

#include <map>

#include "behaviour/windows/target.h"
#include "behaviour/windows/windows_family.h"

namespace glasshook::behaviour::windows {
namespace {

/// INTERNET_FLAG_SECURE (wininet.h) and WINHTTP_FLAG_SECURE (winhttp.h)
constexpr std::uint64_t kSecure = 0x800000;
constexpr std::uint32_t kHttpPort = 80, kHttpsPort = 443;

/// An address in digits is not looked up.
bool is_address(std::string_view name) {
  return name.find(':') != name.npos || name.find_first_not_of("0123456789.") == name.npos;
}

class RequestFamily final : public WindowsFamily {
 public:
  using WindowsFamily::WindowsFamily;

  [[nodiscard]] std::string_view name() const override { return "windows-request"; }
  [[nodiscard]] std::string_view description() const override {
    return "host names that Windows programs look up, and web pages they ask for";
  }

  /// The functions of wininet whose names end in A come to those that end in W.
  [[nodiscard]] std::vector<WantedApi> apis() const override {
    return {{"ws2_32!getaddrinfo", true},    {"ws2_32!GetAddrInfoW", true},
            {"ws2_32!GetAddrInfoExW", true}, {"ws2_32!gethostbyname", true},
            {"dnsapi!DnsQuery_W", true},     {"wininet!InternetConnectW"},
            {"wininet!HttpOpenRequestW"},    {"wininet!HttpSendRequestW"},
            {"wininet!HttpSendRequestExW"},  {"wininet!InternetOpenUrlW", true},
            {"winhttp!WinHttpConnect"},      {"winhttp!WinHttpOpenRequest"},
            {"winhttp!WinHttpSendRequest"}};
  }

 private:
  /// Handles are numbered anew in each process and library.
  struct Handle {
    std::string process;
    bool winhttp = false;
    std::uint64_t value = 0;

    auto operator<=>(const Handle&) const = default;
  };
  struct Connection {
    std::string host;
    std::uint32_t port = 0;
  };
  struct Request {
    std::string method, url;
  };
  /// Of each kind; those beyond stay unknown.
  static constexpr std::size_t kMostHandles = 10'000;

  static bool is_lookup(std::string_view function) {
    return function == "getaddrinfo" || function == "GetAddrInfoW" ||
           function == "GetAddrInfoExW" || function == "gethostbyname" || function == "DnsQuery_W";
  }
  static Handle handle_of(const UserCall& call, std::uint64_t value) {
    return {call.process->entity_id, call.name().starts_with("WinHttp"), value};
  }

  void entered(const UserCall& call, Context&) override {
    if (!call.process) return;
    (is_lookup(call.name()) ? lookups_ : opens_).enter(call);
  }

  void returned(const UserCall& call, Context& context) override {
    if (!call.process) return;
    const std::string_view function = call.name();
    if (is_lookup(function)) {
      if (lookups_.leave(call)) on_lookup(call, context);
    } else if (function == "InternetConnectW") {
      connect(call, "lpszServerName");
    } else if (function == "WinHttpConnect") {
      connect(call, "pswzServerName");
    } else if (function == "HttpOpenRequestW") {
      open(call, "lpszVerb", "lpszObjectName");
    } else if (function == "WinHttpOpenRequest") {
      open(call, "pwszVerb", "pwszObjectName");
    } else if (function == "InternetOpenUrlW") {
      opens_.leave(call);
      tell(call, {.method = "GET", .url = std::string{call.data("lpszUrl")}}, context);
    } else {
      on_sent(call, context);
    }
  }

  void process_ended(const Process& process, Context&) override {
    const auto is_its = [&](const auto& known) { return known.first.process == process.entity_id; };
    std::erase_if(connections_, is_its);
    std::erase_if(requests_, is_its);
    for (NestedCalls* calls : {&lookups_, &opens_}) calls->process_ended(process);
  }

  static void add_outcome(Event& event, const UserCall& call) {
    // A request without an answer yet goes on in the background.
    const bool pending = call.api.error_name == "ERROR_IO_PENDING" || !call.api.returned;
    add(event, "event.outcome", pending ? "unknown" : call.succeeded() ? "success" : "failure");
    if (!call.succeeded()) add_known(event, "glasshook.error", call.api.error_name);
  }

  void on_lookup(const UserCall& call, Context& context) {
    std::string host;
    for (const char* parameter : {"nodename", "pNodeName", "pName", "name", "pszName"})
      if (host.empty()) host = call.data(parameter);
    if (host.empty() || is_address(host)) return;
    Event event = make_event("name_resolved");
    add(event, "dns.question.name", std::move(host));
    add_outcome(event, call);
    context.emit(call, std::move(event));
  }

  void connect(const UserCall& call, std::string_view host) {
    if (!call.succeeded() || connections_.size() >= kMostHandles) return;
    connections_[handle_of(call, call.api.result)] = {
        std::string{call.data(host)}, static_cast<std::uint32_t>(call.raw("nServerPort") & 0xffff)};
  }

  void open(const UserCall& call, std::string_view verb, std::string_view object) {
    if (!call.succeeded() || requests_.size() >= kMostHandles) return;
    const auto connection = connections_.find(handle_of(call, call.raw("hConnect")));
    Request request{.method = std::string{call.data(verb)}, .url = {}};
    if (request.method.empty()) request.method = "GET";
    std::string path{call.data(object)};
    if (!path.starts_with('/')) path.insert(0, "/");
    if (connection != connections_.end()) {
      const auto& [host, port] = connection->second;
      const bool secure = (call.raw("dwFlags") & kSecure) != 0 || port == kHttpsPort;
      request.url = (secure ? "https://" : "http://") + host;
      if (port != 0 && port != (secure ? kHttpsPort : kHttpPort))
        request.url += ":" + std::to_string(port);
    }
    request.url += path;
    requests_[handle_of(call, call.api.result)] = std::move(request);
  }

  void on_sent(const UserCall& call, Context& context) {
    // InternetOpenUrl sends a request of its own.
    if (opens_.inside(call)) return;
    const auto found = requests_.find(handle_of(call, call.raw("hRequest")));
    if (found != requests_.end()) return tell(call, found->second, context);
    Event event = make_event("http_requested");
    add_flag(event, "glasshook.handle.unresolved", true);
    add(event, "glasshook.handle.value", hex(call.raw("hRequest")));
    add_outcome(event, call);
    context.emit(call, std::move(event));
  }

  static void tell(const UserCall& call, const Request& request, Context& context) {
    Event event = make_event("http_requested");
    add(event, "http.request.method", request.method);
    add_known(event, "url.full", request.url);
    add_outcome(event, call);
    context.emit(call, std::move(event));
  }

  std::map<Handle, Connection> connections_;
  std::map<Handle, Request> requests_;
  NestedCalls lookups_, opens_;
};

}  // namespace

std::unique_ptr<Family> make_request_family(std::shared_ptr<Objects> objects) {
  return std::make_unique<RequestFamily>(std::move(objects));
}

}  // namespace glasshook::behaviour::windows
