// glasshook modules: the kernel modules of a running VM, or the Windows modules of a process.
#include "guest/linux/modules.h"

#include "cli/guest_view.h"
#include "monitor/windows_view.h"

namespace glasshook::cli {
namespace {

Result<GuestView> list_kernel_modules(const linux_guest::LinuxKernel& kernel) {
  const auto found = linux_guest::modules(kernel);
  if (!found) return std::unexpected(found.error());
  Listing listing({{"NAME", "name"},
                   {"SIZE", "size", true},
                   {"USED", "references", true},
                   {"ADDRESS", "address", true},
                   {"LIVE", "live"}});
  for (const linux_guest::ModuleInfo& m : found->items)
    listing.add({m.name, m.size,
                 m.references < 0 ? Cell{} : Cell{static_cast<std::uint64_t>(m.references)},
                 Hex{m.base.value}, m.live});
  return GuestView{std::move(listing), found->incomplete};
}

Result<GuestView> list_windows_modules(const linux_guest::LinuxKernel& kernel, std::uint32_t pid) {
  const auto process = linux_guest::find_process(kernel, pid);
  if (!process) return with_remedy(std::unexpected(process.error()), "glasshook ps");
  const auto windows = monitor::windows_process(kernel, *process);
  if (!windows)
    return with_remedy(fail(ErrorCode::unsupported, "process {} is no Windows process", pid),
                       fmt::format("glasshook maps {}", pid));
  const windows::LoadedModules found = monitor::windows_modules(kernel, *process, windows->peb);
  Listing listing(
      {{"NAME", "name"}, {"SIZE", "size", true}, {"ADDRESS", "address", true}, {"PATH", "path"}});
  for (const windows::LoadedModule& m : found.items)
    listing.add({m.name, m.size, Hex{m.base.value}, m.path});
  return GuestView{std::move(listing), found.incomplete};
}

}  // namespace

void add_modules(CommandBuilder program) {
  auto pid = std::make_shared<std::uint32_t>(0);
  const CommandBuilder command = add_guest_view(
      program, "modules", "List the kernel modules of a running VM, or a process's Windows modules",
      [pid](const linux_guest::LinuxKernel& kernel) {
        return *pid == 0 ? list_kernel_modules(kernel) : list_windows_modules(kernel, *pid);
      });
  command.value("PID", *pid, "A Windows process, by its id as glasshook ps shows it");
  command.footer(
      "Examples:\n"
      "  glasshook modules\n"
      "  glasshook modules --vm /run/vm/glasshook.sock\n"
      "  glasshook modules 412");
}

}  // namespace glasshook::cli
