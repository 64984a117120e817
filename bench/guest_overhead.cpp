// What watching costs a guest, against the same guest without Glasshook in the same run:
//   guest_overhead [ROUNDS]
// Every round restores a fresh VM for each case, in turn, and runs each workload in it. Prints all
// rows, then medians and the ratio to the unwatched VM. Seconds are the guest's own.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <vector>

#include "hypervisor/attached/probe_client.h"
#include "machine/guest.h"
#include "machine/process.h"
#include "machine/resources.h"
#include "monitor/session.h"

namespace {

using namespace glasshook;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Case {
  const char* name;
  bool plugin = false;
  std::optional<std::vector<std::string>> behaviours = std::nullopt;  ///< none: no monitor
};

struct Workload {
  const char* name;
  const char* count;
};

const std::vector<Case> kCases = {
    {.name = "without Glasshook"},
    {.name = "probe, no hooks", .plugin = true},
    {.name = "default behaviours", .plugin = true, .behaviours = std::vector<std::string>{}}};
constexpr Workload kWorkloads[] = {{"storm", "60000"}, {"cpu", "60000"}};

/// Runs one workload in a fresh VM; the seconds it took there.
Result<double> measure(const Case& c, const Workload& workload,
                       const api::ApiCatalogue& catalogue) {
  const auto scratch = machine::TempDir::create();
  if (!scratch) return std::unexpected(scratch.error());
  machine::GuestRequest request;
  const std::string socket = scratch->path() / "probe.sock";
  if (c.plugin) {
    const auto plugin = machine::plugin_file();
    if (!plugin) return std::unexpected(plugin.error());
    request.plugin = *plugin;
    request.plugin_arguments = "socket=" + socket;
  }
  auto guest = machine::start_guest(request, [](std::string_view) {});
  if (!guest) return std::unexpected(guest.error());
  std::unique_ptr<monitor::Session> session;
  std::uint64_t events = 0;
  const auto deadline = [](int s) { return machine::Clock::now() + seconds(s); };
  if (c.behaviours) {
    auto probe = hypervisor::ProbeClient::connect(socket, "qemu-tcg", seconds(5));
    if (!probe) return std::unexpected(probe.error());
    monitor::SessionOptions options;
    options.behaviours = *c.behaviours;
    options.host_id = "bench";
    auto started = monitor::Session::start(std::move(*probe), catalogue, options,
                                           [&](const behaviour::Event&) { ++events; });
    if (!started) return std::unexpected(started.error());
    session = std::move(*started);
  }
  if (auto ok = guest->machine->resume(deadline(10)); !ok) return std::unexpected(ok.error());
  machine::GuestCommand command;
  command.argv = {"./workload", workload.name, workload.count};
  command.copies = {GLASSHOOK_WORKLOAD};
  if (auto pid = guest->shell->prepare(command, deadline(30)); !pid)
    return std::unexpected(pid.error());
  if (auto ok = guest->shell->release(); !ok) return std::unexpected(ok.error());
  std::string output;
  for (const auto end = deadline(300); machine::Clock::now() < end;) {
    if (session)
      if (auto pumped = session->pump(milliseconds(2)); !pumped)
        return std::unexpected(pumped.error());
    const auto status =
        guest->shell->pump([&](machine::Stream, std::string_view bytes) { output += bytes; },
                           milliseconds(session ? 0 : 50));
    if (!status) return std::unexpected(status.error());
    if (*status) break;
  }
  long long ns = 0;
  std::from_chars(output.data(), output.data() + output.size(), ns);
  if (ns == 0) return fail(ErrorCode::guest_fault, "the workload said: {}", output);
  return static_cast<double>(ns) / 1e9;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  const auto directory = machine::data_directory("apis");
  const auto catalogue = directory ? api::ApiCatalogue::load(*directory / "linux")
                                   : Result<api::ApiCatalogue>(std::unexpected(directory.error()));
  if (!catalogue) {
    fmt::print(stderr, "guest_overhead: {}\n", catalogue.error().message);
    return 1;
  }
  std::map<std::string, std::map<std::string, std::vector<double>>> rows;
  for (int round = 1; round <= rounds; ++round)
    for (const Workload& workload : kWorkloads)
      for (const Case& c : kCases) {
        const auto taken = measure(c, workload, *catalogue);
        if (!taken) {
          fmt::print(stderr, "guest_overhead: {}: {}\n", c.name, taken.error().message);
          return 1;
        }
        fmt::print("row round={} workload={} case=\"{}\" seconds={:.3f}\n", round, workload.name,
                   c.name, *taken);
        rows[workload.name][c.name].push_back(*taken);
      }
  fmt::print("\n{:<8} {:<20} {:>9} {:>9} {:>9} {:>7}\n", "workload", "case", "min s", "median s",
             "max s", "ratio");
  for (const Workload& workload : kWorkloads)
    for (const Case& c : kCases) {
      auto& values = rows[workload.name][c.name];
      const double base = median(rows[workload.name][kCases.front().name]);
      fmt::print("{:<8} {:<20} {:>9.3f} {:>9.3f} {:>9.3f} {:>7.3f}\n", workload.name, c.name,
                 std::ranges::min(values), median(values), std::ranges::max(values),
                 median(values) / base);
    }
  return 0;
}
