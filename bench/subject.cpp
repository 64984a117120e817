#include "subject.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

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
  return subject;
}

Result<Taken> Subject::run(const Workload& workload) {
  machine::GuestCommand command;
  command.argv = workload.command;
  command.directory = profile_.home;
  if (profile_.runs_windows_programs)
    command.copies = {program("registry.exe")};
  else
    command.copies = {program("workload"), program("workload-dynamic")};
  if (auto ok = guest_.shell->deliver(command); !ok) return std::unexpected(ok.error());
  if (auto pid = guest_.shell->prepare(in(30)); !pid) return std::unexpected(pid.error());
  const double cpu = vcpu_seconds(), own = own_seconds();
  events_ = 0;
  actions_.clear();
  const auto begin = machine::Clock::now();
  if (auto ok = guest_.shell->release(); !ok) return std::unexpected(ok.error());
  if (auto done = wait(); !done) return std::unexpected(done.error());
  return Taken{.cpu_seconds = vcpu_seconds() - cpu,
               .monitor_seconds = own_seconds() - own,
               .wall_seconds = std::chrono::duration<double>(machine::Clock::now() - begin).count(),
               .events = events_,
               .actions = actions_};
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

Result<> Subject::wait() {
  std::string said;
  for (const auto end = in(300); machine::Clock::now() < end;) {
    // As cli/watch_loop.cpp waits: each wake-up may take the vCPU's processor.
    if (session_)
      if (auto pumped = session_->pump(milliseconds(10)); !pumped)
        return std::unexpected(pumped.error());
    const auto status =
        guest_.shell->pump([&](machine::Stream, std::string_view bytes) { said += bytes; },
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
