#include "cli/values.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

namespace glasshook::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMaxDuration = std::chrono::hours{24 * 365};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

/// The exponent (of 2) of "k", "KiB", "mb", ...
std::optional<unsigned> size_shift(std::string_view suffix) {
  std::string unit = lower(suffix);
  if (unit.ends_with("ib")) {
    unit.resize(unit.size() - 2);
  } else if (unit.size() == 2 && unit.ends_with("b")) {
    unit.pop_back();
  }
  if (unit == "b") return 0;
  if (unit == "k") return 10;
  if (unit == "m") return 20;
  if (unit == "g") return 30;
  if (unit == "t") return 40;
  return std::nullopt;
}

std::optional<double> unit_milliseconds(std::string_view unit) {
  if (unit == "ms") return 1.0;
  if (unit.empty() || unit == "s") return 1000.0;
  if (unit == "m" || unit == "min") return 60e3;
  if (unit == "h") return 3600e3;
  return std::nullopt;
}

std::unexpected<Error> bad_duration(std::string_view text) {
  return with_remedy(fail(ErrorCode::invalid_argument, "'{}' is no time span", text),
                     "write it like 30, 30s, 1.5m, 250ms or 1h30m");
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  const auto shift = size_shift(suffix);
  if (error != std::errc{} || number == 0 || (!suffix.empty() && !shift))
    return with_remedy(fail(ErrorCode::invalid_argument, "'{}' is no size", text),
                       "write it like 1024M or 2G");
  const std::uint64_t factor = suffix.empty() ? unit : std::uint64_t{1} << *shift;
  if (number > std::numeric_limits<std::uint64_t>::max() / factor)
    return fail(ErrorCode::invalid_argument, "'{}' is larger than any size can be", text);
  return number * factor;
}

Result<milliseconds> parse_duration(std::string_view text) {
  double total = 0;
  std::string_view rest = text;
  do {
    const std::size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + digits, number);
    if (digits == 0 || error != std::errc{} || end != rest.data() + digits)
      return bad_duration(text);
    rest.remove_prefix(digits);
    const std::size_t letters = std::min(rest.find_first_of("0123456789."), rest.size());
    const auto scale = unit_milliseconds(rest.substr(0, letters));
    if (!scale) return bad_duration(text);
    rest.remove_prefix(letters);
    total += number * *scale;
  } while (!rest.empty());
  if (total < 1 || total > static_cast<double>(kMaxDuration.count())) return bad_duration(text);
  return milliseconds{static_cast<milliseconds::rep>(total)};
}

}  // namespace glasshook::cli
