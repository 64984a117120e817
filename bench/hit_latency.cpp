// What one hooked call costs in the probe, each measured by itself: hit_latency ROUNDS. Without the
// emulator, on warm memory. Prints rows, JSON Lines: the median and the 99th percentile of single
// hits by the processor's time stamp counter, less what reading that takes; and what a hit takes in
// a row of many, by the thread's processor time.
#include <fmt/format.h>
#include <x86intrin.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <string_view>
#include <vector>

#include "hooked_probe.h"

namespace {

using namespace glasshook::hypervisor::probe;  // NOLINT
using Clock = std::chrono::steady_clock;

constexpr int kHits = 20'000;  // a round

std::uint64_t ticks() {
  unsigned processor = 0;
  _mm_lfence();
  const std::uint64_t now = __rdtscp(&processor);
  _mm_lfence();
  return now;
}

/// Ticks of the counter in a nanosecond.
double tick_rate() {
  const auto begin = Clock::now();
  const std::uint64_t first = ticks();
  while (Clock::now() - begin < std::chrono::milliseconds(50)) {
  }
  const auto passed = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
  return static_cast<double>(ticks() - first) / passed;
}

double thread_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Ticks of each of kHits times `act`, least first.
template <class Act>
std::vector<std::uint64_t> sample(Act act) {
  std::vector<std::uint64_t> taken(kHits);
  for (std::uint64_t& one : taken) {
    const std::uint64_t begin = ticks();
    act();
    one = ticks() - begin;
  }
  std::ranges::sort(taken);
  return taken;
}

void print(const char* work, int round, const char* metric, double value) {
  fmt::print(R"({{"part": "hit", "work": "{}", "case": "probe", "round": {}, "metric": "{}", )"
             "\"value\": {:.1f}}}\n",
             work, round, metric, value);
}

void measure(const char* work, HookedProbe& probe, int round, double rate) {
  const std::uint64_t reading = sample([] {})[kHits / 2];
  const auto taken = sample([&] { probe.call(); });
  const auto ns = [&](std::size_t at) {
    return static_cast<double>(taken[at] - std::min(reading, taken[at])) / rate;
  };
  print(work, round, "ns_p50", ns(kHits / 2));
  print(work, round, "ns_p99", ns(kHits * 99UL / 100));
  const double begin = thread_ns();
  for (int i = 0; i < kHits; ++i) probe.call();
  print(work, round, "ns", (thread_ns() - begin) / kHits);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view wanted = argc == 2 ? argv[1] : "";
  int rounds = 0;
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), rounds);
  if (rounds <= 0) {
    fmt::print(stderr, "usage: hit_latency ROUNDS\n");
    return 2;
  }
  const double rate = tick_rate();
  HookedProbe path(path_at_return()), refused(filtered());
  for (int round = 0; round <= rounds; ++round) {  // the first warms up
    measure("entry, return and a path", path, round, rate);
    measure("refused at entry", refused, round, rate);
  }
  return 0;
}
