// glasshook run: a command in a fresh VM, and what its processes do.
#include "cli/command.h"
#include "cli/guest_run.h"

namespace glasshook::cli {

void add_run(CommandBuilder program) {
  const CommandBuilder command =
      program.add("run", "Run a command in a fresh VM and show what its processes do");
  auto options = std::make_shared<GuestRunOptions>();
  add_behaviour_option(command, options->watch);
  add_guest_run_options(command, *options);
  command.footer(
      behaviour_help() +
      "\n"
      "The VM is restored from a snapshot in about a second and thrown away at the end. The\n"
      "command's output is passed on; events, process tree and summary go to the standard error.\n"
      "The exit status is the command's; 124 after --timeout, 125 when Glasshook itself failed.\n"
      "\n"
      "Examples:\n"
      "  glasshook run -- python3 -c 'import json'\n"
      "  glasshook run --copy sample.sh --json events.jsonl -- sh ./sample.sh\n"
      "  glasshook run -e 'libc!getaddrinfo' --timeout 30 -- curl http://example.com\n"
      "  glasshook run --guest windows-api -- sample.exe /install\n"
      "  glasshook run --image disk.qcow2 --memory 2G --timeout 5m");
  command.runs([options](const Invocation& invocation) {
    options->command = invocation.guest_command;
    return run_in_guest(*options, invocation.color);
  });
}

}  // namespace glasshook::cli
