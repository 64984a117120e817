#include "subject.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cli/watch_loop.h"
#include "hypervisor/attached/probe_client.h"
#include "machine/resources.h"

namespace glasshook::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

machine::Deadline in(int s) { return machine::Clock::now() + seconds(s); }

double own_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

/// What the build made beside this program.
std::filesystem::path program(const char* name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

/// What came after `before`.
Taken operator-(Taken now, const Taken& before) {
  now.cpu_seconds -= before.cpu_seconds;
  now.monitor_seconds -= before.monitor_seconds;
  now.wall_seconds -= before.wall_seconds;
  now.events -= before.events;
  for (const auto& [action, times] : before.actions) now.actions[action] -= times;
  return now;
}

}  // namespace

Result<std::unique_ptr<Subject>> Subject::start(const char* name, const Case& c,
                                                const api::GuestApis& apis) {
  const auto store = machine::ImageStore::open();
  if (!store) return std::unexpected(store.error());
  auto profile = store->profile(name);
  if (!profile) return std::unexpected(profile.error());
  machine::GuestRequest request;
  request.name = name;
  if (c.plugin == Plugin::empty) request.plugin = program("libempty_plugin.so");
  if (c.plugin == Plugin::probe) {
    const auto plugin = machine::plugin_file();
    if (!plugin) return std::unexpected(plugin.error());
    request.plugin = *plugin;
    request.probe = true;
  }
  auto guest = machine::start_guest(request, [](std::string_view) {});
  if (!guest) return std::unexpected(guest.error());
  std::unique_ptr<Subject> subject(new Subject(std::move(*guest), std::move(*profile)));
  if (c.behaviours)
    if (auto ok = subject->watch(c, apis); !ok) return std::unexpected(ok.error());
  if (auto ok = subject->find_vcpu(); !ok) return std::unexpected(ok.error());
  if (auto ok = subject->guest_.machine->resume(in(10)); !ok) return std::unexpected(ok.error());
  if (auto ok = subject->prepare(c); !ok) return std::unexpected(ok.error());
  return subject;
}

Result<> Subject::prepare(const Case& c) {
  // Where a program's pages happen to lie decides what collides in QEMU's tables.
  const std::string line = "echo 0 >/proc/sys/kernel/randomize_va_space && " + c.prepared_by;
  if (auto done = run({"", {"sh", "-c", line}}); !done) return std::unexpected(done.error());
  run_by_ = c.run_by;
  return {};
}

Result<> Subject::begin(const std::vector<std::string>& command) {
  machine::GuestCommand request;
  request.argv = run_by_;
  request.argv.insert(request.argv.end(), command.begin(), command.end());
  request.directory = profile_.home;
  if (profile_.runs_windows_programs)
    request.copies = {program("registry.exe"), program("windows_calls.exe")};
  else
    request.copies = {program("workload"), program("workload-dynamic")};
  if (auto ok = guest_.shell->deliver(request); !ok) return std::unexpected(ok.error());
  if (auto pid = guest_.shell->prepare(in(30)); !pid) return std::unexpected(pid.error());
  events_ = 0;
  actions_.clear();
  lines_.clear();
  return {};
}

Result<Taken> Subject::run(const Workload& workload) {
  if (auto ok = begin(workload.command); !ok) return std::unexpected(ok.error());
  const Taken before = so_far();
  if (auto ok = guest_.shell->release(); !ok) return std::unexpected(ok.error());
  if (auto done = wait(); !done) return std::unexpected(done.error());
  return so_far() - before;
}

Result<std::vector<Taken>> Subject::run_rounds(const Workload& workload, int rounds) {
  std::vector<std::string> command = workload.command;
  command.push_back(std::to_string(rounds));
  if (auto ok = begin(command); !ok) return std::unexpected(ok.error());
  if (auto ok = guest_.shell->release(); !ok) return std::unexpected(ok.error());
  if (auto done = wait(); !done) return std::unexpected(done.error());
  if (lines_.size() != 2 * static_cast<std::size_t>(rounds))
    return fail(ErrorCode::guest_fault, "of {} rounds there are {} lines", rounds, lines_.size());
  std::vector<Taken> found;
  for (std::size_t i = 0; i < lines_.size(); i += 2) found.push_back(lines_[i + 1] - lines_[i]);
  return found;
}

Result<> Subject::watch(const Case& c, const api::GuestApis& apis) {
  auto probe = hypervisor::ProbeClient::adopt(guest_.machine->take_probe().release());
  if (!probe) return std::unexpected(probe.error());
  monitor::SessionOptions options;
  options.behaviours = *c.behaviours;
  options.more_families = c.more_families;
  options.apis = c.apis;
  options.host_id = "bench";
  if (profile_.runs_windows_programs) options.platform = behaviour::Platform::windows;
  auto started = monitor::Session::start(std::move(*probe), apis, options,
                                         [this](const behaviour::Event& event) { count(event); });
  if (!started) return std::unexpected(started.error());
  session_ = std::move(*started);
  return {};
}

void Subject::count(const behaviour::Event& event) {
  ++events_;
  ++actions_[std::string(event.action)];
}

Result<> Subject::find_vcpu() {
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
double Subject::vcpu_seconds() const {
  std::uint64_t ns = 0;
  std::ifstream(statistics_) >> ns;
  return static_cast<double>(ns) / 1e9;
}

Taken Subject::so_far() const {
  return {.cpu_seconds = vcpu_seconds(),
          .monitor_seconds = own_seconds(),
          .wall_seconds =
              std::chrono::duration<double>(machine::Clock::now().time_since_epoch()).count(),
          .events = events_,
          .actions = actions_};
}

Result<> Subject::wait() {
  std::string said;
  cli::Patience patience;
  for (const auto end = in(300); machine::Clock::now() < end;) {
    if (session_) {
      const auto pumped = session_->pump(patience.now());
      if (!pumped) return std::unexpected(pumped.error());
      patience.saw(*pumped != 0);
    }
    const auto status = guest_.shell->pump(
        [&](machine::Stream, std::string_view bytes) {
          said += bytes;
          lines_.insert(lines_.end(), static_cast<std::size_t>(std::ranges::count(bytes, '\n')),
                        so_far());
        },
        milliseconds(session_ ? 0 : 50));
    if (!status) return std::unexpected(status.error());
    if (!*status) continue;
    if (**status != 0)
      return fail(ErrorCode::guest_fault, "the workload ended with {} and said: {}", **status,
                  said);
    return {};
  }
  return fail(ErrorCode::timeout, "the workload did not end");
}

}  // namespace glasshook::bench
