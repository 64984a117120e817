// glasshook ps: the processes of a running VM.
#include "cli/guest_view.h"
#include "guest/linux/process.h"
#include "monitor/windows_view.h"

namespace glasshook::cli {
namespace {

Cell or_unknown(std::string text) { return text.empty() ? Cell{} : Cell{std::move(text)}; }

/// The command line; like ps(1), the name in brackets where there is none.
std::vector<std::string> command_of(const linux_guest::ProcessInfo& process) {
  if (!process.arguments.empty()) return process.arguments;
  return {"[" + process.name + "]"};
}

Result<GuestView> list_processes(const linux_guest::LinuxKernel& kernel) {
  const auto found = linux_guest::processes(kernel);
  if (!found) return std::unexpected(found.error());
  Listing listing({{"PID", "pid", true},
                   {"PPID", "ppid", true},
                   {"UID", "uid", true},
                   {"", "effective_uid"},
                   {"", "namespace_pid"},
                   {"", "start_time_ns"},
                   {"NAME", "name"},
                   {"COMMAND", ""},
                   {"", "args"},
                   {"", "executable"},
                   {"", "working_directory"},
                   {"", "cgroup"},
                   {"", "container_id"},
                   {"", "kernel_thread"},
                   {"", "exited"},
                   {"", "windows_pid"},
                   {"", "windows_image"},
                   {"", "windows_command_line"},
                   {"", "windows_directory"}});
  for (const linux_guest::ProcessInfo& p : found->items) {
    const auto windows = monitor::windows_process(kernel, p);
    const auto own = windows ? windows->parameters : windows::ProcessParameters{};
    listing.add({std::uint64_t{p.pid}, std::uint64_t{p.parent_pid}, std::uint64_t{p.user_id},
                 std::uint64_t{p.effective_user_id}, std::uint64_t{p.namespace_pid}, p.start_time,
                 p.name, command_of(p), p.arguments, or_unknown(p.executable.display()),
                 or_unknown(p.working_directory.display()), or_unknown(p.cgroup),
                 or_unknown(p.container_id), p.kernel_thread, p.exited,
                 windows ? Cell{std::uint64_t{windows->teb.process_id}} : Cell{},
                 or_unknown(own.image_path), or_unknown(own.command_line),
                 or_unknown(own.current_directory)});
  }
  return GuestView{std::move(listing), found->incomplete};
}

}  // namespace

void add_ps(CommandBuilder program) {
  add_guest_view(program, "ps", "List the processes of a running VM", list_processes)
      .footer(
          "Read from the guest's memory; the guest is not stopped and nothing in it is changed.\n"
          "\n"
          "Examples:\n"
          "  glasshook ps\n"
          "  glasshook ps --vm 4711 --json | jq 'select(.uid == 0).name'");
}

}  // namespace glasshook::cli
