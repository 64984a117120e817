// What watching costs a guest, against the same guest without Glasshook in the same run:
//   guest_overhead [ROUNDS]
// One VM a case, side by side; every round runs each workload in each VM in turn. Prints all rows
// (the first round warms up), then the ratios to the unwatched VM. Measured is
// the processor time of the vCPU's thread, which other load on the host disturbs least.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "hypervisor/attached/probe_client.h"
#include "machine/guest.h"
#include "machine/resources.h"
#include "monitor/session.h"

namespace {

using namespace glasshook;
using std::chrono::milliseconds;
using std::chrono::seconds;

enum class Plugin : std::uint8_t { none, empty, probe };

struct Case {
  const char* name;
  Plugin plugin = Plugin::none;
  std::optional<std::vector<std::string>> behaviours = std::nullopt;  ///< none: no monitor
};

struct Workload {
  const char* name;
  const char* count;  ///< how often it does its work: about half a second
};

const std::vector<Case> kCases = {{.name = "without Glasshook"},
                                  {.name = "QEMU's empty plugin", .plugin = Plugin::empty},
                                  {.name = "probe, no hooks", .plugin = Plugin::probe},
                                  {.name = "default behaviours",
                                   .plugin = Plugin::probe,
                                   .behaviours = std::vector<std::string>{}}};
constexpr Workload kWorkloads[] = {{"storm", "5000"}, {"cpu", "30000"}};

/// What one run of a workload took.
struct Taken {
  double cpu_seconds = 0;    ///< processor time of the vCPU's thread on the host
  double guest_seconds = 0;  ///< on the guest's own clock
};

machine::Deadline in(int s) { return machine::Clock::now() + seconds(s); }

/// A VM of one case. It lives through all rounds, idle while the others work.
class Subject {
 public:
  static Result<std::unique_ptr<Subject>> start(const Case& c, const api::ApiCatalogue& catalogue) {
    machine::GuestRequest request;
    if (c.plugin == Plugin::empty) request.plugin = GLASSHOOK_EMPTY_PLUGIN;
    if (c.plugin == Plugin::probe) {
      const auto plugin = machine::plugin_file();
      if (!plugin) return std::unexpected(plugin.error());
      request.plugin = *plugin;
      request.probe = true;
    }
    auto guest = machine::start_guest(request, [](std::string_view) {});
    if (!guest) return std::unexpected(guest.error());
    std::unique_ptr<Subject> subject(new Subject(std::move(*guest)));
    if (c.behaviours)
      if (auto ok = subject->watch(catalogue, *c.behaviours); !ok)
        return std::unexpected(ok.error());
    if (auto ok = subject->find_vcpu(); !ok) return std::unexpected(ok.error());
    if (auto ok = subject->guest_.machine->resume(in(10)); !ok) return std::unexpected(ok.error());
    return subject;
  }

  Result<Taken> run(const Workload& workload) {
    machine::GuestCommand command;
    command.argv = {"./workload", workload.name, workload.count};
    command.copies = {GLASSHOOK_WORKLOAD};
    if (auto ok = guest_.shell->deliver(command); !ok) return std::unexpected(ok.error());
    if (auto pid = guest_.shell->prepare(in(30)); !pid) return std::unexpected(pid.error());
    const double before = vcpu_seconds();
    if (auto ok = guest_.shell->release(); !ok) return std::unexpected(ok.error());
    auto output = wait();
    if (!output) return std::unexpected(output.error());
    long long ns = 0;
    std::from_chars(output->data(), output->data() + output->size(), ns);
    if (ns == 0) return fail(ErrorCode::guest_fault, "the workload said: {}", *output);
    return Taken{vcpu_seconds() - before, static_cast<double>(ns) / 1e9};
  }

  [[nodiscard]] std::uint64_t events() const { return events_; }

 private:
  explicit Subject(machine::Guest guest) : guest_(std::move(guest)) {}

  Result<> watch(const api::ApiCatalogue& catalogue, const std::vector<std::string>& behaviours) {
    auto probe = hypervisor::ProbeClient::adopt(guest_.machine->take_probe().release(), "qemu-tcg");
    if (!probe) return std::unexpected(probe.error());
    monitor::SessionOptions options;
    options.behaviours = behaviours;
    options.host_id = "bench";
    auto started = monitor::Session::start(std::move(*probe), catalogue, options,
                                           [this](const behaviour::Event&) { ++events_; });
    if (!started) return std::unexpected(started.error());
    session_ = std::move(*started);
    return {};
  }

  Result<> find_vcpu() {
    const auto cpus = guest_.machine->qmp().execute("query-cpus-fast", "", in(5));
    if (!cpus) return std::unexpected(cpus.error());
    if (!cpus->IsArray() || cpus->Empty() || !(*cpus)[0].HasMember("thread-id"))
      return fail(ErrorCode::protocol, "QEMU does not say which thread runs the vCPU");
    // As QEMU's process namespace numbers it: the last number of NSpid in proc(5).
    const std::string wanted = fmt::format("\t{}", (*cpus)[0]["thread-id"].GetInt());
    for (const auto& task :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", guest_.machine->pid()))) {
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("NSpid:") && line.ends_with(wanted))
          statistics_ = task.path() / "schedstat";
    }
    if (statistics_.empty()) return fail(ErrorCode::not_found, "the vCPU's thread is not there");
    return {};
  }

  /// Documentation/scheduler/sched-stats.rst: nanoseconds on a processor come first.
  [[nodiscard]] double vcpu_seconds() const {
    std::uint64_t ns = 0;
    std::ifstream(statistics_) >> ns;
    return static_cast<double>(ns) / 1e9;
  }

  Result<std::string> wait() {
    std::string output;
    for (const auto end = in(300); machine::Clock::now() < end;) {
      if (session_)
        if (auto pumped = session_->pump(milliseconds(2)); !pumped)
          return std::unexpected(pumped.error());
      const auto status =
          guest_.shell->pump([&](machine::Stream, std::string_view bytes) { output += bytes; },
                             milliseconds(session_ ? 0 : 50));
      if (!status) return std::unexpected(status.error());
      if (*status) return output;
    }
    return fail(ErrorCode::timeout, "the workload did not end");
  }

  machine::Guest guest_;
  std::unique_ptr<monitor::Session> session_;
  std::string statistics_;
  std::uint64_t events_ = 0;
};

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

/// One round: every case, beginning with another one each time. Rows of CPU seconds by case.
Result<std::vector<double>> play_round(const std::vector<std::unique_ptr<Subject>>& subjects,
                                       const Workload& workload, int round) {
  std::vector<double> row(subjects.size());
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const std::size_t which = (i + static_cast<std::size_t>(round)) % subjects.size();
    const auto taken = subjects[which]->run(workload);
    if (!taken) return std::unexpected(taken.error());
    row[which] = taken->cpu_seconds;
    fmt::print("row round={} workload={} case=\"{}\" cpu_seconds={:.4f} guest_seconds={:.4f}\n",
               round, workload.name, kCases[which].name, taken->cpu_seconds, taken->guest_seconds);
  }
  return row;
}

/// What most disturbs a run only adds to it: where the kernel puts a program's pages alone can
/// double the time QEMU takes. So cases are compared by the time that a quarter of their runs stay
/// under.
double ratio(const std::vector<std::vector<double>>& rounds, std::size_t which, std::size_t begin,
             std::size_t end) {
  std::vector<double> times, unwatched;
  for (std::size_t r = begin; r < end; ++r) {
    times.push_back(rounds[r][which]);
    unwatched.push_back(rounds[r][0]);
  }
  return quantile(times, 0.25) / quantile(unwatched, 0.25);
}

/// Spread: the same in each third of the rounds.
void print_table(const Workload& workload, const std::vector<std::vector<double>>& rounds) {
  for (std::size_t c = 0; c < kCases.size(); ++c) {
    std::vector<double> times, thirds;
    for (const auto& row : rounds) times.push_back(row[c]);
    for (std::size_t t = 0; t < 3; ++t)
      thirds.push_back(ratio(rounds, c, t * rounds.size() / 3, (t + 1) * rounds.size() / 3));
    fmt::print("{:<8} {:<20} {:>9.3f} {:>9.3f} {:>8.3f} {:>8.3f} {:>8.3f}\n", workload.name,
               kCases[c].name, quantile(times, 0.25), quantile(times, 0.5),
               ratio(rounds, c, 0, rounds.size()), std::ranges::min(thirds),
               std::ranges::max(thirds));
  }
}

Result<> measure(int rounds) {
  const auto directory = machine::data_directory("apis");
  if (!directory) return std::unexpected(directory.error());
  const auto catalogue = api::ApiCatalogue::load(*directory / "linux");
  if (!catalogue) return std::unexpected(catalogue.error());
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Case& c : kCases) {
    auto subject = Subject::start(c, *catalogue);
    if (!subject) return std::unexpected(subject.error());
    subjects.push_back(std::move(*subject));
  }
  std::map<std::string, std::vector<std::vector<double>>> rows;
  for (int round = 0; round <= rounds; ++round)  // the first warms up
    for (const Workload& workload : kWorkloads) {
      auto row = play_round(subjects, workload, round);
      if (!row) return std::unexpected(row.error());
      if (round > 0) rows[workload.name].push_back(std::move(*row));
    }
  fmt::print("\n{:<8} {:<20} {:>9} {:>9} {:>8} {:>8} {:>8}\n", "workload", "case", "quartile s",
             "median s", "ratio", "lowest", "highest");
  for (const Workload& workload : kWorkloads) print_table(workload, rows[workload.name]);
  fmt::print("events of the watched guest: {}\n", subjects.back()->events());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto done = measure(argc > 1 ? std::atoi(argv[1]) : 60);
  if (done) return 0;
  fmt::print(stderr, "guest_overhead: {}\n", done.error().message);
  return 1;
}
