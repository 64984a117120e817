#include "suites.h"

#include <fmt/format.h>

#include <algorithm>

#include "syscall_files.h"

namespace glasshook::bench {
namespace {

using Names = std::vector<std::string>;

monitor::FamilyMaker rebuilt_from(Intercepted what) {
  return [what] {
    std::vector<std::unique_ptr<behaviour::Family>> families;
    families.push_back(make_syscall_files(what));
    return families;
  };
}

Case unwatched() { return {.name = "without"}; }
Case empty_plugin() { return {.name = "QEMU's empty plugin", .plugin = Plugin::empty}; }
Case with_behaviours(const char* name, Names behaviours) {
  return {.name = name, .plugin = Plugin::probe, .behaviours = std::move(behaviours)};
}
Case rebuilt(const char* name, Intercepted what) {
  Case c = with_behaviours(name, {"none"});
  c.more_families = rebuilt_from(what);
  return c;
}
Case one_hook(const char* name, const char* api) {
  Case c = with_behaviours(name, {"none"});
  c.apis = {api};
  return c;
}

/// The program of programs/workload.c, doing `count` of something.
Workload counted(const char* name, const char* what, std::uint32_t count, std::uint32_t divisor) {
  return {name, {"./workload", what, std::to_string(std::max(count / divisor, 1U))}};
}
/// The same program, linked with the guest's C library: its calls of that are hooked.
Workload dynamic(std::string name, const char* what, std::uint32_t count) {
  return {std::move(name), {"./workload-dynamic", what, std::to_string(count)}};
}

// Programs as people run them.

/// Python orders sets anew in each run otherwise, and takes other ways through itself.
constexpr const char* kSameHashes = "PYTHONHASHSEED=0";

Workload compiling(std::uint32_t divisor) {
  return {"python compiles",
          {"env", kSameHashes, "python3", "-S", "-c",
           "import glob, sys\n"
           "for f in sorted(glob.glob('/usr/lib/python3*/json/*.py') +"
           " glob.glob('/usr/lib/python3*/argparse.py'))[:int(sys.argv[1])]:\n"
           "  compile(open(f).read(), f, 'exec')\n",
           std::to_string(std::max(6 / divisor, 1U))}};
}
/// Smaller when it is to be divided: each program that starts differs a little from run to run.
Workload archive(std::uint32_t divisor) {
  constexpr const char* kPack =
      "exec tar -cf /dev/null /usr/lib/python3*/json /usr/lib/python3*/email";
  constexpr const char* kAll =
      "tar -cf /tmp/x.tar /usr/lib/python3*/json /usr/lib/python3*/email /etc 2>/dev/null;"
      "gzip -c /usr/lib/python3*/pydoc.py >/tmp/x.gz; tar -tf /tmp/x.tar >/dev/null;"
      "rm /tmp/x.gz /tmp/x.tar";
  return {"archive", {"sh", "-c", divisor > 1 ? kPack : kAll}};
}
/// Requests over the loopback interface, each answered with a file that is opened for it.
Workload web_server(std::uint32_t divisor) {
  return {"web server",
          {"env", kSameHashes, "python3", "-S", "-c",
           "import socket, sys, threading\n"
           "s = socket.create_server(('127.0.0.1', 0))\n"
           "def serve():\n"
           "  while True:\n"
           "    c, _ = s.accept()\n"
           "    name = c.recv(1000).split()[1].decode()\n"
           "    with open(name, 'rb') as f: c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n' + f.read())\n"
           "    c.close()\n"
           "threading.Thread(target=serve, daemon=True).start()\n"
           "for _ in range(int(sys.argv[1])):\n"
           "  c = socket.create_connection(s.getsockname())\n"
           "  c.sendall(b'GET /etc/services HTTP/1.0\\r\\n\\r\\n')\n"
           "  while c.recv(65536): pass\n"
           "  c.close()\n",
           std::to_string(std::max(400 / divisor, 1U))}};
}
/// A program of Windows that asks the registry much.
Workload registry_listing() {
  return {"Wine's reg.exe", {"wine", "reg", "query", "HKCU\\Control Panel", "/s"}};
}

constexpr std::uint32_t kRates[] = {100, 1'000, 10'000, 100'000};

std::string rate_name(std::uint32_t rate) {
  return rate < 1000 ? fmt::format("{}/s", rate) : fmt::format("{},000/s", rate / 1000);
}

Suite guest_suite(std::uint32_t divisor) {
  return {.cases = {unwatched(),
                    empty_plugin(),
                    {.name = "probe, no hooks", .plugin = Plugin::probe},
                    with_behaviours("default behaviours", {})},
          .workloads = {counted("storm", "storm", 5000, divisor),
                        counted("cpu", "cpu", 30'000, divisor)}};
}

Suite files_suite(std::uint32_t divisor) {
  Suite suite{
      .cases = {unwatched(), empty_plugin(), rebuilt("all system calls", Intercepted::all_calls),
                rebuilt("file system calls", Intercepted::file_calls),
                with_behaviours("file behaviours", {"file"})},
      .workloads = {counted("storm", "storm", 3000, divisor),
                    counted("pipes", "pipes", 6000, divisor), archive(divisor)}};
  if (divisor == 1) {
    suite.workloads.push_back(compiling(divisor));
    suite.workloads.push_back(web_server(divisor));
  }
  return suite;
}

Suite single_suite(std::uint32_t divisor) {
  Suite suite{.cases = {unwatched(), empty_plugin(), one_hook("one hook", "libc!open64")},
              .workloads = {dynamic("opens", "opens", 5000 / divisor), compiling(divisor),
                            archive(divisor), web_server(divisor)}};
  if (divisor == 1)
    for (const std::uint32_t rate : kRates)
      suite.workloads.push_back(dynamic(rate_name(rate), "paced", rate));
  return suite;
}

Suite registry_suite(std::uint32_t divisor) {
  const auto paced = [](std::string name, const char* what, std::uint32_t count) {
    return Workload{std::move(name), {"./registry.exe", what, std::to_string(count)}};
  };
  Suite suite{
      .guest = "windows-api",
      .cases = {unwatched(), empty_plugin(), one_hook("one hook", "advapi32!RegOpenKeyExW")},
      .workloads = {paced("opens", "opens", 1000 / divisor), registry_listing()}};
  // More than some hundred a second Wine's server does not answer.
  for (const std::uint32_t rate : {kRates[0], kRates[1]})
    suite.workloads.push_back(paced(rate_name(rate), "paced", rate));
  return suite;
}

/// As bench/peer/tools.py has them.
constexpr const char* kWindowsCalls[] = {"kernel32!CreateFileW", "kernel32!GetFileAttributesW",
                                         "kernel32!DeleteFileW", "advapi32!RegOpenKeyExW"};

/// Wine's own log of calls, into a file of the guest.
Case relay(const char* name) {
  return {.name = name,
          .run_by = {"sh", "-c", "WINEDEBUG=+pid,+relay \"$@\" 2>/tmp/relay.log", "sh"}};
}
/// Wine writes module and function with a dot between them.
Case relay_of_these_only() {
  std::string included = fmt::format("{}", fmt::join(kWindowsCalls, ";"));
  std::ranges::replace(included, '!', '.');
  Case c = relay("Wine's +relay of these functions only");
  c.prepared_by = fmt::format(
      R"(reg.exe add 'HKCU\Software\Wine\Debug' /v RelayInclude /t REG_SZ /d '{}' /f)", included);
  return c;
}

Suite relay_suite(std::uint32_t divisor) {
  Case hooks = with_behaviours("hooks on these functions", {"none"});
  hooks.apis.assign(std::begin(kWindowsCalls), std::end(kWindowsCalls));
  Suite suite{
      .guest = "windows-api",
      .cases = {unwatched(), empty_plugin(), hooks, relay("Wine's +relay"), relay_of_these_only()},
      .workloads = {{.name = "calls",
                     .command = {"./windows_calls.exe", std::to_string(500 / divisor)}}},
      .programs_make_rounds = true};
  // Ten seconds after its snapshot Wine's services do what takes longer than a round.
  for (Case& c : suite.cases) c.prepared_by += " && sleep 15";
  return suite;
}

}  // namespace

Result<Suite> suite_of(std::string_view name, std::uint32_t divisor) {
  if (name == "guest") return guest_suite(divisor);
  if (name == "files") return files_suite(divisor);
  if (name == "single") return single_suite(divisor);
  if (name == "registry") return registry_suite(divisor);
  if (name == "relay") return relay_suite(divisor);
  return fail(ErrorCode::invalid_argument,
              "no suite '{}': choose guest, files, single, registry, relay", name);
}

}  // namespace glasshook::bench
