// glasshook modules: the kernel modules of a running VM.
#include "guest/linux/modules.h"

#include "cli/guest_view.h"

namespace glasshook::cli {
namespace {

Result<GuestView> list_modules(const linux_guest::LinuxKernel& kernel) {
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

}  // namespace

void add_modules(CommandBuilder program) {
  add_guest_view(program, "modules", "List the kernel modules of a running VM", list_modules)
      .footer("Examples:\n  glasshook modules\n  glasshook modules --vm /run/vm/glasshook.sock");
}

}  // namespace glasshook::cli
