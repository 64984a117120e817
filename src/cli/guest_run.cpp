#include "cli/guest_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/catalogue.h"
#include "cli/diagnostics.h"
#include "cli/interrupts.h"
#include "cli/missing_module.h"
#include "cli/session_note.h"
#include "cli/values.h"
#include "cli/walls.h"
#include "cli/watch_loop.h"
#include "guest/linux/process.h"
#include "hypervisor/attached/probe_client.h"
#include "machine/guest.h"
#include "machine/kvm_check.h"

namespace glasshook::cli {
namespace {

using machine::Clock;
using machine::in;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Generous: a loaded host may be ten times slower than a quiet one.
constexpr auto kReadyTime = seconds(60);
constexpr auto kBootTime = std::chrono::minutes(5);
constexpr auto kResumeTime = seconds(20);

/// What was checked before anything is started.
struct Plan {
  machine::GuestRequest request;
  std::string accelerator_note;
  hypervisor::Tier tier = hypervisor::Tier::stealth;
  machine::GuestProfile profile;
  machine::GuestCommand command;
  Result<> executable;  ///< whether the guest could execute the command, as far as is known here
  std::optional<milliseconds> timeout;
  milliseconds linger{};
  std::optional<HookCommands> commands;
};

MachineNeeds needs_of(const WatchOptions& watch, hypervisor::Tier tier) {
  MachineNeeds needs{.broad = tier == hypervisor::Tier::broad};
  for (const std::string& api : watch.apis) needs.user_code |= !api.starts_with("kernel!");
  // The families whose most telling functions fit into the breakpoints of a processor. Calls that
  // are named are shown with their results, which breakpoints do not see.
  const std::string& families = watch.behaviours;
  const bool fits =
      families == "process" || families == "process,file" || families == "file,process";
  needs.few_places = fits && watch.apis.empty() && watch.commands.empty() && watch.record.empty();
  return needs;
}

/// Fills in what is about the command.
Result<> plan_command(const GuestRunOptions& options, Plan& plan) {
  const auto store = machine::ImageStore::open();
  if (!store) return std::unexpected(store.error());
  const auto profile = store->profile(options.guest.guest);
  if (!profile) return std::unexpected(profile.error());
  plan.profile = *profile;
  auto command = make_guest_command(options.guest, *profile, options.command);
  if (!command) return std::unexpected(command.error());
  plan.command = std::move(*command);
  plan.executable = check_program(options.guest, *profile, plan.command);
  return {};
}

Result<Plan> make_plan(const GuestRunOptions& options) {
  Plan plan;
  const auto tier = tier_of(options.watch);
  if (!tier) return std::unexpected(tier.error());
  plan.tier = *tier;
  auto chosen = choose_accelerator(options.guest, needs_of(options.watch, *tier));
  if (!chosen) return std::unexpected(chosen.error());
  plan.accelerator_note = std::move(chosen->note);
  auto request = make_guest_request(options.guest, chosen->accelerator);
  if (!request) return std::unexpected(request.error());
  plan.request = std::move(*request);
  plan.request.userfaultfd =
      chosen->accelerator == machine::Accelerator::kvm && *tier == hypervisor::Tier::broad;
  if (options.command.empty() && !plan.request.custom)
    return with_remedy(fail(ErrorCode::invalid_argument, "there is no command to run"),
                       "glasshook run -- COMMAND ARGUMENT...");
  if (!options.command.empty() && plan.request.custom)
    return with_remedy(
        fail(ErrorCode::unsupported, "a guest of your own offers no shell to run '{}' in",
             options.command.front()),
        "leave the command out to watch everything that runs there");
  if (!plan.request.custom)
    if (auto ok = plan_command(options, plan); !ok) return std::unexpected(ok.error());
  const auto timeout = timeout_of(options.watch);
  if (!timeout) return std::unexpected(timeout.error());
  plan.timeout = *timeout;
  auto commands = commands_of(options.watch);
  if (!commands) return std::unexpected(commands.error());
  plan.commands = std::move(*commands);
  if (!options.linger.empty()) {
    const auto linger = parse_duration(options.linger);
    if (!linger) return std::unexpected(linger.error());
    plan.linger = *linger;
  }
  return plan;
}

/// The session's filter: the command's tree, unless the user says otherwise.
monitor::SessionOptions scoped_session(const GuestRunOptions& options, std::string host_id) {
  monitor::SessionOptions session = session_options(options.watch);
  if (session.host_id.empty()) session.host_id = std::move(host_id);
  if (!options.all_processes && !options.command.empty() && session.filter.selects_nothing())
    session.filter.tree = true;
  return session;
}

/// Why a VM that is gone has ended, from QEMU's last events.
Error ending_of(machine::Machine& machine) {
  std::string reason;
  for (;;) {
    auto event = machine.qmp().next_event(in(milliseconds(100)));
    if (!event || !*event) break;
    if ((*event)->name == "GUEST_PANICKED") reason = "the guest's kernel panicked";
    if ((*event)->name == "SHUTDOWN" && reason.empty())
      reason =
          (*event)->text("reason") == "guest-reset" ? "the guest rebooted" : "the guest shut down";
  }
  if (reason.empty()) return machine.why_gone();
  return {ErrorCode::closed, reason + " before the command ended",
          "--console FILE keeps what its kernel says"};
}

Error vm_ended() { return {ErrorCode::closed, "the VM ended", ""}; }

/// One run, step by step.
class GuestRun {
 public:
  GuestRun(const GuestRunOptions& options, Plan plan, const api::GuestApis& apis,
           EventOutputs& outputs, Interrupts& interrupts)
      : options_(options),
        plan_(std::move(plan)),
        apis_(apis),
        outputs_(outputs),
        interrupts_(interrupts) {}

  Result<int> run() {
    if (auto ok = prepare(); !ok) return std::unexpected(explained(ok.error()));
    auto status = watch_command();
    const auto concluded = conclude(*session_, outputs_);
    if (!status) return std::unexpected(explained(status.error()));
    guest_.shell.reset();
    guest_.machine.reset();  // before the session: no hook need be taken out of a VM that ends
    if (!concluded) return std::unexpected(concluded.error());
    return status;
  }

 private:
  /// Until the command is about to run.
  Result<> prepare() {
    Progress progress;
    auto guest =
        machine::start_guest(plan_.request, [&](std::string_view step) { progress.step(step); });
    if (!guest) return std::unexpected(guest.error());
    guest_ = std::move(*guest);
    host_id_ = fmt::format("vm-{:x}-{:x}", guest_.machine->pid(),
                           std::chrono::system_clock::now().time_since_epoch().count());
    note_missing_walls("QEMU", guest_.machine->missing_walls());
    progress.step("attaching to the guest");
    if (auto ok = attach(progress); !ok) return ok;
    if (!guest_.shell || options_.command.empty()) return {};
    progress.step("preparing the command");
    if (auto ok = guest_.shell->wait_ready(in(kReadyTime)); !ok) return ok;
    const auto pid = guest_.shell->prepare(in(kReadyTime));
    if (!pid) return std::unexpected(pid.error());
    if (options_.all_processes) return {};
    return session_->follow(*pid);
  }

  Result<> attach(Progress& progress) {
    auto probe = hypervisor::ProbeClient::adopt(guest_.machine->take_probe().release(), plan_.tier);
    if (!probe) return std::unexpected(probe.error());
    if (plan_.request.userfaultfd && !(*probe)->capabilities().write_protected) note_late_writes();
    if (!guest_.restored)
      if (auto ok = boot(**probe, progress); !ok) return ok;
    const auto begun = Clock::now();
    const std::string backend = words_of((*probe)->capabilities());
    monitor::SessionOptions wanted = scoped_session(options_, host_id_);
    if (plan_.profile.runs_windows_programs) wanted.platform = behaviour::Platform::windows;
    auto hypervisor = recorded(std::move(*probe), options_.watch.record,
                               {.options = wanted, .windows_apis = apis_.windows() != nullptr});
    if (!hypervisor) return std::unexpected(hypervisor.error());
    if (guest_.shell && !options_.command.empty())
      if (auto ok = guest_.shell->deliver(plan_.command); !ok) return ok;
    if (auto ok = raise_walls(guest_.machine->pid()); !ok) return ok;
    auto session =
        monitor::Session::start(std::move(*hypervisor), apis_, std::move(wanted),
                                [this](const behaviour::Event& event) { outputs_.write(event); });
    if (!session) return std::unexpected(session.error());
    session_ = std::move(*session);
    progress.clear();
    if (!options_.watch.quiet)
      announce(
          *session_,
          fmt::format(
              "{}{}, guest {}", backend,
              plan_.accelerator_note.empty() ? "" : fmt::format(" ({})", plan_.accelerator_note),
              guest_name()),
          Clock::now() - begun);
    return guest_.restored ? guest_.machine->resume(in(kResumeTime)) : Result<>();
  }

  /// Says what would help.
  void note_late_writes() const {
    const auto device = machine::open_userfaultfd();
    if (!device && !options_.watch.quiet) print_error(device.error());
  }

  /// Runs the guest until its kernel is up and has started the first program.
  Result<> boot(const hypervisor::Hypervisor& probe, Progress& progress) {
    progress.step("booting the guest");
    if (auto ok = guest_.machine->resume(in(kResumeTime)); !ok) return ok;
    if (guest_.shell) {
      const auto begun = guest_.shell->wait_begun(in(kBootTime));
      return begun ? guest_.shell->wait_ready(in(kBootTime)) : begun;
    }
    Error last;
    for (const auto deadline = in(kBootTime); Clock::now() < deadline;) {
      const auto kernel = linux_guest::LinuxKernel::find(probe.memory());
      if (kernel) {
        const auto init = linux_guest::find_process(*kernel, 1);
        if (init && !init->mm.is_null()) return {};
      }
      if (!kernel) last = kernel.error();
      if (guest_.machine->wait_exit(in(seconds(1)))) return std::unexpected(vm_ended());
    }
    return with_remedy(
        fail(ErrorCode::timeout, "the guest did not start a program in time: {}", last.message),
        "--console FILE keeps what its kernel says; is it a Linux that can boot from this disk?");
  }

  /// Lets the command run, and watches.
  Result<int> watch_command() {
    interrupts_.handle_in_order();
    outputs_.begin(host_id_);
    if (guest_.shell && !options_.command.empty())
      if (auto ok = guest_.shell->release(); !ok) return std::unexpected(ok.error());
    std::optional<int> status;
    Clock::time_point ended{};
    const auto step = [&]() -> Result<bool> {
      if (!guest_.shell) return false;
      if (status) return Clock::now() - ended >= plan_.linger;
      auto pumped = guest_.shell->pump(
          [this](machine::Stream stream, std::string_view bytes) { pass_on(stream, bytes); }, {});
      if (!pumped) return std::unexpected(pumped.error());
      status = *pumped;
      ended = Clock::now();
      return status && plan_.linger.count() == 0;
    };
    const auto end = watch({.session = *session_,
                            .outputs = outputs_,
                            .interrupts = interrupts_,
                            .timeout = plan_.timeout,
                            .commands = plan_.commands ? &*plan_.commands : nullptr},
                           step);
    if (!end) return std::unexpected(end.error());
    switch (*end) {
      case WatchEnd::done:
        return explained_status(*status);
      case WatchEnd::timed_out:
        if (!options_.watch.quiet)
          print_note(fmt::format("ended after {}", options_.watch.timeout));
        return status.value_or(kTimedOut);
      case WatchEnd::interrupted:
        return kInterrupted;
      case WatchEnd::vm_gone:
        break;
    }
    if (options_.command.empty()) return kSuccess;
    return std::unexpected(vm_ended());
  }

  void pass_on(machine::Stream stream, std::string_view bytes) {
    if (stream == machine::Stream::err && plan_.profile.runs_windows_programs)
      missing_module_.feed(bytes);
    const bool out = stream == machine::Stream::out && !outputs_.uses_stdout();
    write_all(out ? STDOUT_FILENO : STDERR_FILENO, bytes);
  }

  /// The status to end with, after telling what it means if that is not clear.
  [[nodiscard]] int explained_status(int status) const {
    if (status == kDllNotFoundStatus && !missing_module_.name().empty()) {
      print_error({ErrorCode::not_found,
                   fmt::format("the guest has no {}, which '{}' needs", missing_module_.name(),
                               options_.command.front()),
                   fmt::format("--copy {} puts it next to the command", missing_module_.name())});
      return kCannotRun;
    }
    if (status != kNotFound && status != kCannotRun) return status;
    print_error({ErrorCode::not_found,
                 fmt::format("status {}: the guest {} '{}'", status,
                             status == kNotFound ? "seems to have no" : "cannot execute",
                             options_.command.front()),
                 "--copy FILE puts a file of yours next to the command; then run ./FILE"});
    return status;
  }

  [[nodiscard]] std::string guest_name() const {
    return plan_.request.custom ? "of your own" : plan_.request.name;
  }

  /// A peer that hung up has its reason in the VM's end. Asked once: QEMU's events are used up.
  [[nodiscard]] Error explained(const Error& error) {
    return error.code == ErrorCode::closed && guest_.machine ? ending_of(*guest_.machine) : error;
  }

  const GuestRunOptions& options_;
  Plan plan_;
  api::GuestApis apis_;
  EventOutputs& outputs_;
  Interrupts& interrupts_;
  std::unique_ptr<monitor::Session> session_;  ///< outlives the VM
  machine::Guest guest_;
  std::string host_id_;
  MissingModule missing_module_;
};

}  // namespace

OptionRef add_guest_run_options(CommandBuilder command, GuestRunOptions& options) {
  command.takes_guest_command();
  const OptionRef api = add_hook_options(command, options.watch);
  add_filter_options(command, options.watch);
  command.group("Which processes")
      .flag("--all-processes", options.all_processes,
            "Everything in the VM, not only what the command starts");
  add_guest_options(command, options.guest);
  add_output_options(command, options.watch);
  command.group("Output").value("--linger", options.linger, "Watch on after the command has ended",
                                "TIME");
  add_record_option(command, options.watch);
  return api;
}

namespace {

/// Whether signatures of Windows may be needed: in a guest for Windows programs, or a user's own.
bool may_need_windows_apis(const GuestRunOptions& options, const Plan& plan) {
  if (plan.request.custom) return names_apis(options.watch);
  return plan.profile.runs_windows_programs &&
         (names_apis(options.watch) || options.watch.behaviours.empty());
}

}  // namespace

Result<int> run_in_guest(const GuestRunOptions& options, ColorMode color) {
  Interrupts interrupts;
  auto plan = make_plan(options);
  if (!plan) return std::unexpected(plan.error());
  if (!plan->executable) {
    print_error(plan->executable.error());
    return kCannotRun;
  }
  const auto apis = load_apis(may_need_windows_apis(options, *plan));
  if (!apis) return std::unexpected(apis.error());
  if (auto ok = check_apis(options.watch, apis->view()); !ok) return std::unexpected(ok.error());
  auto outputs = EventOutputs::open(options.watch, options.live, color, apis->view());
  if (!outputs) return std::unexpected(outputs.error());
  GuestRun run(options, std::move(*plan), apis->view(), *outputs, interrupts);
  return run.run();
}

}  // namespace glasshook::cli
