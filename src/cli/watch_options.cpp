#include "cli/watch_options.h"

#include <fmt/format.h>

#include "base/text.h"
#include "behaviour/family.h"
#include "cli/values.h"
#include "hook/selector.h"

namespace glasshook::cli {
namespace {

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return parts;
}

char mark_of(const behaviour::Family& family) {
  const bool linux = family.on_by_default(behaviour::Platform::linux);
  const bool windows = family.on_by_default(behaviour::Platform::windows);
  return linux && windows ? '*' : linux ? 'l' : windows ? 'w' : ' ';
}

}  // namespace

void add_behaviour_option(CommandBuilder command, WatchOptions& o) {
  command.group("What to watch")
      .value("--behaviours", o.behaviours,
             "Behaviour families, with commas between them (see below)", "LIST");
}

OptionRef add_hook_options(CommandBuilder command, WatchOptions& o) {
  const CommandBuilder group = command.group("What to watch");
  const OptionRef api = group.values(
      "-e,--api", o.apis,
      "Show calls of these too: libc!open, 'kernel!vfs_*', @network; repeatable", "API");
  group.value("--rate", o.rate, "At most so many calls a second of each -e function");
  group.value("--commands", o.commands,
              "Add and remove hooks while watching: lines +API and -API of this file or FIFO; - is "
              "the standard input",
              "FILE");
  group.value(
      "--tier", o.tier,
      "Under KVM: four places and nothing to see (stealth), or all of the kernel, with hooks "
      "that a guest can read (broad): see kvm.md",
      "stealth|broad");
  return api;
}

Result<hypervisor::Tier> tier_of(const WatchOptions& options) {
  if (options.tier == "stealth") return hypervisor::Tier::stealth;
  if (options.tier == "broad") return hypervisor::Tier::broad;
  return with_remedy(fail(ErrorCode::invalid_argument, "--tier {}: there is no such tier",
                          to_printable(options.tier)),
                     "choose from: stealth, broad");
}

void add_filter_options(CommandBuilder command, WatchOptions& o) {
  const CommandBuilder group = command.group("Which processes");
  group.values("--pid", o.pids, "Only this process id; repeatable", "PID");
  group.values("--comm", o.comms, "Only processes with this name (glob); repeatable", "GLOB");
  group.values("--exe", o.exes, "Only processes that run this file (glob); repeatable", "GLOB");
  group.flag("--tree", o.tree, "And what those start from now on");
}

void add_output_options(CommandBuilder command, WatchOptions& o) {
  const CommandBuilder group = command.group("Output");
  group.value("--timeout", o.timeout, "Stop after this long: 30, 1.5m, 2h", "TIME");
  group.value("--json", o.json, "Write events as JSON Lines; - is the standard output", "FILE");
  group.flag("--live", o.live, "Show events as text too, beside --json");
  group.value("--show", o.show,
              "What to show as text: what changes something, or only what is rare",
              "all|changes|notable");
  group.flag("--quiet", o.quiet, "No text: no events, tree or summary");
  group.flag("--hooks", o.hooks, "End with the counters of every hook");
  group.flag("--utc", o.utc, "Time of day instead of seconds since the start");
  group.value("--host-id", o.host_id, "host.id of the events (default: made up per VM)");
}

void add_record_option(CommandBuilder command, WatchOptions& o) {
  command.group("Output").value("--record", o.record, "Keep all that glasshook replay needs",
                                "FILE");
}

std::string behaviour_help() {
  std::string text =
      "Behaviour families for --behaviours; also: all, none\n"
      "(on by default: * everywhere, l, w in guests for Linux, for Windows programs)\n";
  for (const auto& family : behaviour::make_families())
    text +=
        fmt::format("  {:<16} {} {}\n", family->name(), mark_of(*family), family->description());
  return text;
}

monitor::SessionOptions session_options(const WatchOptions& options) {
  monitor::SessionOptions session;
  session.behaviours = split_list(options.behaviours);
  session.apis = options.apis;
  session.filter.pids = options.pids;
  session.filter.comms = options.comms;
  session.filter.exes = options.exes;
  session.filter.tree = options.tree;
  session.host_id = options.host_id;
  session.rate_limit = options.rate;
  return session;
}

bool names_apis(const WatchOptions& options) {
  const bool behaviours = !options.behaviours.empty() && options.behaviours != "none";
  return !options.apis.empty() || !options.commands.empty() || behaviours;
}

Result<> check_apis(const WatchOptions& options, const api::GuestApis& apis) {
  std::vector<hook::Selector> selectors;
  for (const std::string& text : options.apis) {
    auto selector = hook::parse_selector(text);
    if (!selector) return std::unexpected(selector.error());
    if (selector->module != "kernel") selectors.push_back(std::move(*selector));
  }
  const auto found = hook::resolve(selectors, apis, nullptr);
  return found ? Result<>() : std::unexpected(found.error());
}

Result<std::optional<std::chrono::milliseconds>> timeout_of(const WatchOptions& options) {
  if (options.timeout.empty()) return std::nullopt;
  const auto timeout = parse_duration(options.timeout);
  if (!timeout) return std::unexpected(timeout.error());
  return *timeout;
}

}  // namespace glasshook::cli
