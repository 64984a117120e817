// glasshook trace: API calls as strace shows them.
#include "cli/command.h"
#include "cli/guest_run.h"
#include "cli/vm_watch.h"

namespace glasshook::cli {

void add_trace(CommandBuilder program) {
  const CommandBuilder command =
      program.add("trace", "Show API calls with their arguments, like strace");
  auto options = std::make_shared<GuestRunOptions>();
  auto vm = std::make_shared<std::string>();
  options->live = EventOutputs::Live::trace;
  options->watch.behaviours = "none";
  add_guest_run_options(command, *options).required();
  command.group("Guest").value("--vm", *vm, "Trace a VM that runs already, not a fresh one", "VM");
  command.footer(
      "A function is named MODULE!FUNCTION, with globs; @CATEGORY takes all of a category.\n"
      "kernel!FUNCTION is any function of the guest's kernel. Behind a name, /rate=N limits how\n"
      "many calls a second are shown and /noret leaves the result out.\n"
      "A call is shown when it returns, so inner calls stand above outer ones.\n"
      "\n"
      "Examples:\n"
      "  glasshook trace -e 'libc!open*' -- ls /\n"
      "  glasshook trace -e @network -- curl http://example.com\n"
      "  glasshook trace -e 'kernel!vfs_unlink' -e 'libc!unlink*' -- rm -f x\n"
      "  glasshook trace -e 'kernel!do_filp_open/rate=100' --vm 4711 --comm nginx");
  command.runs([options, vm](const Invocation& invocation) -> Result<int> {
    options->command = invocation.guest_command;
    if (vm->empty()) return run_in_guest(*options, invocation.color);
    if (!options->command.empty())
      return with_remedy(
          fail(ErrorCode::invalid_argument, "'{}' cannot be run in a VM that runs already",
               options->command.front()),
          "leave out the command, or --vm");
    return watch_vm(*vm, options->watch, options->live, invocation.color);
  });
}

}  // namespace glasshook::cli
