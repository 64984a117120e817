// Things that happen a thousand times in a row, told once.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "behaviour/event.h"
#include "behaviour/support.h"
#include "behaviour/time_text.h"

namespace glasshook::behaviour {

/// How much was moved in how many operations, from when to when.
struct Totals {
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;
  std::chrono::system_clock::time_point first{};
  std::chrono::system_clock::time_point last{};

  void count(std::uint64_t amount, std::chrono::system_clock::time_point when) {
    if (operations == 0) first = when;
    last = std::max(last, when);
    bytes += amount;
    ++operations;
  }
  [[nodiscard]] bool empty() const { return operations == 0; }
};

/// Fields glasshook.bytes, glasshook.operations, event.start, event.end.
inline void add_totals(Event& event, const Totals& totals) {
  add_number(event, "glasshook.bytes", totals.bytes);
  add_number(event, "glasshook.operations", totals.operations);
  add(event, "event.start", iso_time(totals.first));
  add(event, "event.end", iso_time(totals.last));
}

}  // namespace glasshook::behaviour
