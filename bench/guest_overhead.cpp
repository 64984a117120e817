// What watching costs a guest, against the same guest without Glasshook in the same run:
//   guest_overhead SUITE [ROUNDS]
// SUITE: guest (behaviours as they are), single (one hook), files (file behaviours, and the same
// rebuilt from system calls). One VM a case, side by side; every round runs each workload in each
// VM in turn. Prints all rows (the first round warms up), then what each case adds. Measured is the
// processor time of the vCPU's thread, which other load on the host disturbs least.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "machine/resources.h"
#include "subject.h"
#include "syscall_files.h"

namespace {

using namespace glasshook;         // NOLINT
using namespace glasshook::bench;  // NOLINT

struct Suite {
  std::vector<Case> cases;  ///< the first is what the others are compared with
  std::vector<Workload> workloads;
};

monitor::FamilyMaker rebuilt_from(Intercepted what) {
  return [what] {
    std::vector<std::unique_ptr<behaviour::Family>> families;
    families.push_back(make_syscall_files(what));
    return families;
  };
}

/// Programs as people run them: an archive, a compression, a script that computes.
Workload applications() {
  return {"applications",
          {"sh", "-c",
           "tar -cf /dev/null /usr/lib/python3.11/json /usr/lib/python3.11/email /etc;"
           "gzip -c /usr/lib/python3.11/pydoc.py >/tmp/x.gz; rm /tmp/x.gz;"
           "python3 -S -c 'import json; print(len(json.dumps([list(range(50))] * 400)))'"}};
}

std::vector<Case> guest_cases() {
  return {{.name = "without Glasshook"},
          {.name = "QEMU's empty plugin", .plugin = Plugin::empty},
          {.name = "probe, no hooks", .plugin = Plugin::probe},
          {.name = "default behaviours",
           .plugin = Plugin::probe,
           .behaviours = std::vector<std::string>{}}};
}

std::vector<Case> file_cases() {
  const std::vector<std::string> none = {"none"};
  return {{.name = "without Glasshook"},
          {.name = "QEMU's empty plugin", .plugin = Plugin::empty},
          {.name = "all system calls",
           .plugin = Plugin::probe,
           .behaviours = none,
           .more_families = rebuilt_from(Intercepted::all_calls)},
          {.name = "file system calls",
           .plugin = Plugin::probe,
           .behaviours = none,
           .more_families = rebuilt_from(Intercepted::file_calls)},
          {.name = "file behaviours",
           .plugin = Plugin::probe,
           .behaviours = std::vector<std::string>{"file"}}};
}

std::vector<Case> single_cases() {
  return {{.name = "without Glasshook"},
          {.name = "QEMU's empty plugin", .plugin = Plugin::empty},
          {.name = "one hook: libc!open64",
           .plugin = Plugin::probe,
           .behaviours = std::vector<std::string>{"none"},
           .apis = {"libc!open64"}}};
}

Workload paced(const char* name, const char* rate) {
  return {name, {"./workload-dynamic", "paced", rate}};
}

Result<Suite> suite_of(std::string_view name) {
  if (name == "guest")
    return Suite{
        guest_cases(),
        {{"storm", {"./workload", "storm", "5000"}}, {"cpu", {"./workload", "cpu", "30000"}}}};
  if (name == "files")
    return Suite{file_cases(),
                 {{"storm", {"./workload", "storm", "3000"}},
                  {"pipes", {"./workload", "pipes", "6000"}},
                  applications()}};
  if (name == "single")
    return Suite{single_cases(),
                 {paced("100/s", "100"), paced("1,000/s", "1000"),
                  paced("as fast as it goes", "1000000"), applications()}};
  return fail(ErrorCode::invalid_argument, "no suite '{}': choose guest, single, files", name);
}

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

using Rows = std::vector<std::vector<Taken>>;  ///< by round, then by case

/// One round: every case, beginning with another one each time.
Result<std::vector<Taken>> play_round(const Suite& suite,
                                      const std::vector<std::unique_ptr<Subject>>& subjects,
                                      const Workload& workload, int round) {
  std::vector<Taken> row(subjects.size());
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const std::size_t which = (i + static_cast<std::size_t>(round)) % subjects.size();
    const auto taken = subjects[which]->run(workload);
    if (!taken) return std::unexpected(taken.error());
    row[which] = *taken;
    fmt::print(
        "row round={} workload=\"{}\" case=\"{}\" cpu_seconds={:.4f} monitor_seconds={:.4f} "
        "wall_seconds={:.4f} events={}\n",
        round, workload.name, suite.cases[which].name, taken->cpu_seconds, taken->monitor_seconds,
        taken->wall_seconds, taken->events);
  }
  return row;
}

std::vector<double> column(const Rows& rows, std::size_t which, double Taken::* field,
                           std::size_t begin, std::size_t end) {
  std::vector<double> values;
  for (std::size_t r = begin; r < end; ++r) values.push_back(rows[r][which].*field);
  return values;
}

/// What most disturbs a run only adds to it: where the kernel puts a program's pages alone can
/// double the time QEMU takes. So cases are compared by the time that a quarter of their runs stay
/// under.
double quartile(const Rows& rows, std::size_t which, double Taken::* field, std::size_t begin,
                std::size_t end) {
  return quantile(column(rows, which, field, begin, end), 0.25);
}

/// Spread: the same in each third of the rounds.
void print_case(const Workload& workload, const Case& c, const Rows& rows, std::size_t which) {
  const auto ratio = [&](std::size_t begin, std::size_t end) {
    return quartile(rows, which, &Taken::cpu_seconds, begin, end) /
           quartile(rows, 0, &Taken::cpu_seconds, begin, end);
  };
  std::vector<double> thirds;
  for (std::size_t t = 0; t < 3; ++t)
    thirds.push_back(ratio(t * rows.size() / 3, (t + 1) * rows.size() / 3));
  // Before anybody watches, this process does the same small things for every case.
  const auto monitor = [&](std::size_t c) {
    return quartile(rows, c, &Taken::monitor_seconds, 0, rows.size());
  };
  const double seconds = quartile(rows, which, &Taken::cpu_seconds, 0, rows.size());
  const double added = seconds - quartile(rows, 0, &Taken::cpu_seconds, 0, rows.size());
  fmt::print("{:<19} {:<22} {:>9.4f} {:>8.3f} {:>8.3f} {:>8.3f} {:>9.4f} {:>9.4f} {:>8}\n",
             workload.name, c.name, seconds, ratio(0, rows.size()), std::ranges::min(thirds),
             std::ranges::max(thirds), added, monitor(which) - monitor(0),
             rows.back()[which].events);
}

void print_table(const Suite& suite, const std::map<std::string, Rows>& rows) {
  fmt::print("\n{:<19} {:<22} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8}\n", "workload", "case",
             "vCPU s", "ratio", "lowest", "highest", "added s", "monitor s", "events");
  for (const Workload& workload : suite.workloads)
    for (std::size_t c = 0; c < suite.cases.size(); ++c)
      print_case(workload, suite.cases[c], rows.at(workload.name), c);
}

Result<> measure(std::string_view name, int rounds) {
  const auto suite = suite_of(name);
  if (!suite) return std::unexpected(suite.error());
  const auto directory = machine::data_directory("apis");
  if (!directory) return std::unexpected(directory.error());
  const auto catalogue = api::ApiCatalogue::load(*directory / "linux");
  if (!catalogue) return std::unexpected(catalogue.error());
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Case& c : suite->cases) {
    auto subject = Subject::start(c, *catalogue);
    if (!subject) return std::unexpected(subject.error());
    subjects.push_back(std::move(*subject));
  }
  std::map<std::string, Rows> rows;
  for (int round = 0; round <= rounds; ++round)  // the first warms up
    for (const Workload& workload : suite->workloads) {
      auto row = play_round(*suite, subjects, workload, round);
      if (!row) return std::unexpected(row.error());
      if (round > 0) rows[workload.name].push_back(std::move(*row));
    }
  print_table(*suite, rows);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto done = measure(argc > 1 ? argv[1] : "guest", argc > 2 ? std::atoi(argv[2]) : 60);
  if (done) return 0;
  fmt::print(stderr, "guest_overhead: {}\n", done.error().message);
  return 1;
}
