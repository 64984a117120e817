#include "cli/watch_loop.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/diagnostics.h"

namespace glasshook::cli {
namespace {

using Clock = std::chrono::steady_clock;
}  // namespace

Result<WatchEnd> watch(const Watching& w, const std::function<Result<bool>()>& step) {
  const auto deadline = w.timeout ? Clock::now() + *w.timeout : Clock::time_point::max();
  Patience patience;
  for (Clock::time_point next_look{};;) {
    const auto handled = w.session.pump(patience.now());
    if (!handled && handled.error().code == ErrorCode::closed) return WatchEnd::vm_gone;
    if (!handled) return std::unexpected(handled.error());
    patience.saw(*handled != 0);
    // The records of a guest that is not busy come one by one.
    const auto now = Clock::now();
    if (*handled != 0 && now < next_look) continue;
    next_look = now + patience.now();
    if (w.commands != nullptr) w.commands->apply(w.session, w.outputs);
    w.outputs.flush();
    if (w.outputs.failure()) return std::unexpected(*w.outputs.failure());
    const auto done = step();
    if (!done) return std::unexpected(done.error());
    if (*done) return WatchEnd::done;
    if (w.interrupts.pending()) return WatchEnd::interrupted;
    if (now >= deadline) return WatchEnd::timed_out;
  }
}

Result<std::optional<HookCommands>> commands_of(const WatchOptions& options) {
  if (options.commands.empty()) return std::nullopt;
  if (!options.record.empty())
    return fail(ErrorCode::unsupported,
                "a session that is recorded keeps its hooks: --commands "
                "and --record do not go together");
  auto commands = HookCommands::open(options.commands, options.quiet);
  if (!commands) return std::unexpected(commands.error());
  return std::move(*commands);
}

Result<> conclude(monitor::Session& session, EventOutputs& outputs) {
  const auto finished = session.finish();
  const auto summary = session.summary();
  const auto written = outputs.finish(summary ? *summary : output::Summary{});
  if (!finished && finished.error().code != ErrorCode::closed)
    return std::unexpected(finished.error());
  if (!summary) return std::unexpected(summary.error());
  return written;
}

std::string words_of(const hypervisor::Capabilities& c) {
  std::string limits;
  const auto add = [&](bool limited, const std::string& words) {
    if (limited) limits += (limits.empty() ? "" : ", ") + words;
  };
  add(c.max_sites != 0, fmt::format("{} places in the kernel", c.max_sites));
  add(!c.returns, "no returns");
  add(!c.user_pages && !c.user_places, "no code of programs");
  add(!c.user_pages && c.user_places, "code of programs as far as files hold it");
  add(!c.hidden_from_reads, "a guest that reads its code sees the hooks");
  add(!c.write_protected, "one that writes over a hook is noticed late");
  return limits.empty() ? c.backend : fmt::format("{} ({})", c.backend, limits);
}

void announce(monitor::Session& session, std::string_view what, Clock::duration attaching) {
  const auto summary = session.summary();
  print_note(fmt::format("{}, Linux {}, {} hooks, attached in {:.2f} s", what,
                         session.kernel().release(), summary ? summary->hooks.size() : 0,
                         std::chrono::duration<double>(attaching).count()));
}

std::string host_id_of(const std::filesystem::path& socket) {
  struct stat info{};
  if (::stat(socket.c_str(), &info) != 0) return "vm";
  return fmt::format("vm-{:x}-{:x}{:08x}", info.st_ino, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

}  // namespace glasshook::cli
