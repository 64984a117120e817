#include "cli/guest_view.h"

#include <unistd.h>

#include "cli/diagnostics.h"
#include "cli/vm_locator.h"
#include "cli/walls.h"

namespace glasshook::cli {
namespace {

Result<int> print_view(const GuestViewOptions& options, const LookAtGuest& look, ColorMode color) {
  const auto hypervisor = attach_vm(options.vm);
  if (!hypervisor) return std::unexpected(hypervisor.error());
  if (auto ok = raise_walls(); !ok) return std::unexpected(ok.error());
  const auto kernel = linux_guest::LinuxKernel::find((*hypervisor)->memory());
  if (!kernel) return std::unexpected(kernel.error());
  const auto view = look(*kernel);
  if (!view) return std::unexpected(view.error());
  view->listing.print(options.json, use_color(color, STDOUT_FILENO));
  if (!view->incomplete) return kSuccess;
  print_error({view->incomplete->code, "the list is incomplete: " + view->incomplete->message,
               view->incomplete->remedy});
  return kFailure;
}

}  // namespace

CommandBuilder add_guest_view(CommandBuilder program, const char* name, const char* description,
                              LookAtGuest look) {
  const CommandBuilder command = program.add(name, description);
  auto options = std::make_shared<GuestViewOptions>();
  command.value("--vm", options->vm, kVmHelp, "VM");
  command.flag("--json", options->json, "JSON Lines instead of a table");
  command.runs([options, look = std::move(look)](const Invocation& invocation) {
    return print_view(*options, look, invocation.color);
  });
  return command;
}

}  // namespace glasshook::cli
