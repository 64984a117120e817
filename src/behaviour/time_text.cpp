#include "behaviour/time_text.h"

#include <algorithm>
#include <cstdint>

namespace glasshook::behaviour {
namespace {

void write_digits(char* out, std::uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) out[i] = static_cast<char>('0' + value % 10);
}

}  // namespace

void write_iso_time(std::chrono::system_clock::time_point time, char (&out)[kIsoTimeLength]) {
  using namespace std::chrono;
  // The second that the very first times belong to cannot be told in nanoseconds.
  time = std::max(time, system_clock::time_point::min() + seconds{1});
  const auto second = floor<seconds>(time);
  const auto day = floor<days>(second);
  const year_month_day date{day};
  const hh_mm_ss clock{second - day};
  const auto nanoseconds = duration_cast<std::chrono::nanoseconds>(time - second).count();

  std::copy_n("0000-00-00T00:00:00.000000000Z", kIsoTimeLength, out);
  write_digits(out, static_cast<std::uint64_t>(std::clamp(static_cast<int>(date.year()), 0, 9999)),
               4);
  write_digits(out + 5, static_cast<unsigned>(date.month()), 2);
  write_digits(out + 8, static_cast<unsigned>(date.day()), 2);
  write_digits(out + 11, static_cast<std::uint64_t>(clock.hours().count()), 2);
  write_digits(out + 14, static_cast<std::uint64_t>(clock.minutes().count()), 2);
  write_digits(out + 17, static_cast<std::uint64_t>(clock.seconds().count()), 2);
  write_digits(out + 20, static_cast<std::uint64_t>(nanoseconds), 9);
}

std::string iso_time(std::chrono::system_clock::time_point time) {
  char text[kIsoTimeLength];
  write_iso_time(time, text);
  return {text, kIsoTimeLength};
}

}  // namespace glasshook::behaviour
