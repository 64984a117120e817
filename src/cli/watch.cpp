// glasshook watch: what the processes of a running VM do.
#include "cli/command.h"
#include "cli/vm_locator.h"
#include "cli/vm_watch.h"

namespace glasshook::cli {

void add_watch(CommandBuilder program) {
  const CommandBuilder command = program.add("watch", "Show what the processes of a running VM do");
  auto options = std::make_shared<WatchOptions>();
  auto vm = std::make_shared<std::string>();
  command.value("VM", *vm, kVmHelp, "VM");
  add_behaviour_option(command, *options);
  add_hook_options(command, *options);
  add_filter_options(command, *options);
  add_output_options(command, *options);
  add_record_option(command, *options);
  command.footer(
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
  command.runs([options, vm](const Invocation& invocation) {
    return watch_vm(*vm, *options, EventOutputs::Live::text, invocation.color);
  });
}

}  // namespace glasshook::cli
