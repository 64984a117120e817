// glasshook watch: what the processes of a running VM do.
#include "cli/vm_locator.h"
#include "cli/vm_watch.h"

namespace glasshook::cli {

void add_watch(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand("watch", "Show what the processes of a running VM do");
  auto options = std::make_shared<WatchOptions>();
  auto vm = std::make_shared<std::string>();
  command->add_option("VM", *vm, kVmHelp)->type_name("VM");
  command
      ->add_option("--behaviours", options->behaviours,
                   "Behaviour families, with commas between them (see below)")
      ->type_name("LIST")
      ->group("What to watch");
  add_hook_options(*command, *options);
  add_filter_options(*command, *options);
  add_output_options(*command, *options);
  command->footer(
      behaviour_help() +
      "\n"
      "The VM is a QEMU that was started with Glasshook's plugin:\n"
      "  qemu-system-x86_64 ... -object memory-backend-memfd,id=ram,size=2G,share=on \\\n"
      "    -machine q35,memory-backend=ram -plugin libglasshook-qemu.so,socket=/run/vm.sock\n"
      "Watching ends with Ctrl-C, --timeout or the VM; the VM runs on.\n"
      "\n"
      "Examples:\n"
      "  glasshook watch\n"
      "  glasshook watch /run/vm.sock --comm nginx --tree\n"
      "  glasshook watch 4711 --behaviours process,network --json events.jsonl");
  command->callback([&invocation, options, vm] {
    invocation.action = [&invocation, options, vm] {
      return watch_vm(*vm, *options, EventOutputs::Live::text, invocation.color);
    };
  });
}

}  // namespace glasshook::cli
