#include "output/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "output/describe.h"
#include "output/style.h"

namespace glasshook::output {
namespace {

std::string plural(std::uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", grouped(count), count == 1 ? one : many);
}

void append_actions(std::string& out, const Summary& s) {
  for (const behaviour::ActionInfo& action : behaviour::actions())
    if (const auto found = s.actions.find(action.name); found != s.actions.end())
      fmt::format_to(std::back_inserter(out), "  {:<30} {:>14}\n", action.name,
                     grouped(found->second));
  for (const auto& [name, count] : s.actions)
    if (behaviour::find_action(name) == nullptr)
      fmt::format_to(std::back_inserter(out), "  {:<30} {:>14}\n", name, grouped(count));
}

std::string loss_words(const Losses& l) {
  std::string words;
  const auto add = [&](std::uint64_t count, std::string_view one, std::string_view many) {
    if (count == 0) return;
    if (!words.empty()) words += ", ";
    words += plural(count, one, many);
  };
  add(l.dropped, "record dropped (ring full)", "records dropped (ring full)");
  add(l.rate_limited, "call rate-limited", "calls rate-limited");
  add(l.unresolved, "thing unresolved", "things unresolved");
  add(l.truncated, "value cut short", "values cut short");
  add(l.budget, "capture over budget", "captures over budget");
  add(l.page_timeouts, "code page unhooked in time", "code pages unhooked in time");
  add(l.malformed, "record malformed", "records malformed");
  add(l.late_commits, "change of hooks in effect late", "changes of hooks in effect late");
  add(l.overwritten, "place hooked anew that the guest wrote over",
      "places hooked anew that the guest wrote over");
  add(l.lifted, "moment without hooks (guest saved, its code read or written)",
      "moments without hooks (guest saved, its code read or written)");
  return words;
}

void append_hooks(std::string& out, const Summary& s, const Style& style) {
  std::size_t width = 4;
  for (const HookCounts& hook : s.hooks) width = std::max(width, text_width(hook.name));
  fmt::format_to(std::back_inserter(out), "{}  {:<{}} {:>12} {:>12} {:>12} {:>8} {:>8} {:>12}{}\n",
                 style.dim, "hook", width, "hits", "sent", "filtered", "limited", "dropped",
                 "returned", style.reset);
  for (const HookCounts& h : s.hooks)
    fmt::format_to(std::back_inserter(out), "  {:<{}} {:>12} {:>12} {:>12} {:>8} {:>8} {:>12}\n",
                   to_printable(h.name), width, h.hits, h.sent, h.filtered, h.rate_limited,
                   h.dropped, h.returned);
}

}  // namespace

std::string render_summary(const Summary& s, const TreeOptions& options) {
  const Style colors = style(options.color);
  std::string out =
      fmt::format("{}{} in {:.1f} s{}\n", colors.bold, plural(s.events, "event", "events"),
                  std::chrono::duration<double>(s.duration).count(), colors.reset);
  append_actions(out, s);
  if (s.losses.any())
    out += fmt::format("{}lost: {}{}\n", colors.notable, loss_words(s.losses), colors.reset);
  else
    out += "nothing lost\n";
  for (const std::string& hook : s.missing_hooks)
    out += fmt::format("{}not watched: {}{}\n", colors.notable, to_printable(hook), colors.reset);
  if (options.show_hooks && !s.hooks.empty()) append_hooks(out, s, colors);
  return out;
}

}  // namespace glasshook::output
