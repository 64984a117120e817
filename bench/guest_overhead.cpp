// What watching costs a guest, against the same guest without Glasshook in the same run:
//   guest_overhead SUITE ROUNDS [DIVISOR]
// Prints rows, JSON Lines (bench/report/rows.py); round 0 warms up. Measured is the processor time
// of the vCPU's thread, which other load on the host disturbs least.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/catalogue.h"
#include "subject.h"
#include "suites.h"

namespace {

using namespace glasshook;         // NOLINT
using namespace glasshook::bench;  // NOLINT

struct Row {
  std::string_view part, work, name;
  int round;
};

/// Names and numbers of ours alone: nothing to be escaped.
void print(const Row& row, std::string_view metric, double value, std::string_view more = {}) {
  fmt::print(R"({{"part": "{}", "work": "{}", "case": "{}", "round": {}, "metric": "{}", )"
             "\"value\": {:.9g}{}}}\n",
             row.part, row.work, row.name, row.round, metric, value, more);
}

/// How often what was told: that two ways to watch tell the same can be seen from it.
std::string actions_of(const Taken& taken) {
  std::string text;
  for (const auto& [action, times] : taken.actions)
    text += fmt::format("{}\"{}\": {}", text.empty() ? "" : ", ", action, times);
  return fmt::format(", \"actions\": {{{}}}", text);
}

void print(const Row& row, const Taken& taken) {
  print(row, "vcpu_seconds", taken.cpu_seconds);
  print(row, "monitor_seconds", taken.monitor_seconds);
  print(row, "wall_seconds", taken.wall_seconds);
  print(row, "events", static_cast<double>(taken.events), actions_of(taken));
  std::fflush(stdout);
}

/// One VM a case, side by side: every round runs each workload in each VM in turn, beginning with
/// another one each time.
Result<> measure_side_by_side(std::string_view name, const Suite& suite, const api::GuestApis& apis,
                              int rounds) {
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Case& c : suite.cases) {
    auto subject = Subject::start(suite.guest, c, apis);
    if (!subject) return std::unexpected(subject.error());
    subjects.push_back(std::move(*subject));
  }
  for (int round = 0; round <= rounds; ++round)
    for (const Workload& workload : suite.workloads)
      for (std::size_t i = 0; i < subjects.size(); ++i) {
        const std::size_t which = (i + static_cast<std::size_t>(round)) % subjects.size();
        const auto taken = subjects[which]->run(workload);
        if (!taken) return std::unexpected(taken.error());
        print({name, workload.name, suite.cases[which].name, round}, *taken);
      }
  return {};
}

/// One VM after the other, each program makes all rounds: for what is counted.
Result<> measure_in_turn(std::string_view name, const Suite& suite, const api::GuestApis& apis,
                         int rounds) {
  for (const Case& c : suite.cases) {
    const auto subject = Subject::start(suite.guest, c, apis);
    if (!subject) return std::unexpected(subject.error());
    for (const Workload& workload : suite.workloads) {
      const auto taken = (*subject)->run_rounds(workload, rounds + 1);
      if (!taken) return std::unexpected(taken.error());
      for (std::size_t round = 0; round < taken->size(); ++round)
        print({name, workload.name, c.name, static_cast<int>(round)}, (*taken)[round]);
    }
  }
  return {};
}

Result<> measure(std::string_view name, int rounds, std::uint32_t divisor) {
  const auto suite = suite_of(name, divisor);
  if (!suite) return std::unexpected(suite.error());
  const auto apis = cli::load_apis(suite->guest != std::string_view("linux"));
  if (!apis) return std::unexpected(apis.error());
  const auto how = suite->programs_make_rounds ? measure_in_turn : measure_side_by_side;
  return how(name, *suite, apis->view(), rounds);
}

/// A whole number from 1 on; 0 when it is none.
std::uint32_t number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value < 1'000'000 ? value : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint32_t rounds = argc > 2 ? number(argv[2]) : 0;
  const std::uint32_t divisor = argc > 3 ? number(argv[3]) : 1;
  if (argc > 4 || rounds == 0 || divisor == 0) {
    fmt::print(stderr,
               "usage: guest_overhead guest|files|single|registry|relay ROUNDS [DIVISOR]\n");
    return 2;
  }
  const auto done = measure(argv[1], static_cast<int>(rounds), divisor);
  if (done) return 0;
  const Error& error = done.error();
  fmt::print(stderr, "{}{}{}\n", error.message,
             error.remedy.empty() ? "" : "; try: ", error.remedy);
  return 1;
}
