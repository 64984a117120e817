// glasshook maps: the memory areas of a guest process.
#include "cli/guest_view.h"
#include "guest/linux/memory_map.h"
#include "guest/linux/process.h"

namespace glasshook::cli {
namespace {

std::string permissions(const linux_guest::MemoryArea& area) {
  return {area.readable ? 'r' : '-', area.writable ? 'w' : '-', area.executable ? 'x' : '-',
          area.shared ? 's' : 'p'};
}

Result<GuestView> list_areas(const linux_guest::LinuxKernel& kernel, std::uint32_t pid) {
  const auto process = linux_guest::find_process(kernel, pid);
  if (!process) return with_remedy(std::unexpected(process.error()), "glasshook ps");
  if (process->mm.is_null())
    return fail(ErrorCode::not_found, "process {} has no memory of its own: {}", pid,
                process->kernel_thread ? "it is a kernel thread" : "it is exiting");
  const auto found = linux_guest::areas(kernel, process->mm, process->root);
  if (!found) return std::unexpected(found.error());
  Listing listing({{"START", "start", true},
                   {"END", "end", true},
                   {"PERM", "permissions"},
                   {"OFFSET", "file_offset", true},
                   {"INODE", "inode", true},
                   {"PATH", "path"}});
  for (const linux_guest::MemoryArea& a : found->items) {
    const bool mapped = !a.file.is_null();
    listing.add({Hex{a.start.value}, Hex{a.end.value}, permissions(a),
                 mapped ? Cell{Hex{a.file_offset}} : Cell{}, mapped ? Cell{a.inode} : Cell{},
                 mapped ? Cell{a.path.display()} : Cell{a.special}});
  }
  return GuestView{std::move(listing), found->incomplete};
}

}  // namespace

void add_maps(CommandBuilder program) {
  auto pid = std::make_shared<std::uint32_t>(0);
  const CommandBuilder command = add_guest_view(
      program, "maps", "Show the memory map of a process in a running VM",
      [pid](const linux_guest::LinuxKernel& kernel) { return list_areas(kernel, *pid); });
  command.value("PID", *pid, "Process id in the guest, as glasshook ps shows it").required();
  command.footer(
      "Examples:\n"
      "  glasshook maps 1\n"
      "  glasshook maps 412 --json | jq -r 'select(.permissions[2:3] == \"x\").path'");
}

}  // namespace glasshook::cli
