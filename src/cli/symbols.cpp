// glasshook symbols: the kernel's symbol table, found in the memory of a running VM.
#include "guest/linux/symbols.h"

#include "base/text.h"
#include "cli/guest_view.h"
#include "guest/linux/modules.h"

namespace glasshook::cli {
namespace {

Result<GuestView> list_symbols(const linux_guest::LinuxKernel& kernel, const std::string& glob) {
  const auto symbols = linux_guest::symbols_with_modules(kernel);
  if (!symbols) return std::unexpected(symbols.error());
  Listing listing({{"ADDRESS", "address", true}, {"TYPE", "type"}, {"NAME", "name"}});
  for (const linux_guest::Symbol& s : symbols->all())
    if (glob_match(glob, s.name))
      listing.add({Hex{s.address.value}, std::string(1, s.type), s.name});
  if (listing.empty()) {
    std::string near;
    for (const std::string& name : symbols->nearest(glob, 3))
      near += (near.empty() ? "" : " or ") + name;
    return with_remedy(fail(ErrorCode::not_found, "the kernel has no symbol '{}'", glob), near);
  }
  return GuestView{std::move(listing), std::nullopt};
}

}  // namespace

void add_symbols(CommandBuilder program) {
  auto glob = std::make_shared<std::string>("*");
  const CommandBuilder command = add_guest_view(
      program, "symbols", "List kernel symbols of a running VM",
      [glob](const linux_guest::LinuxKernel& kernel) { return list_symbols(kernel, *glob); });
  command.value("GLOB", *glob, "Only names that match (default: all)");
  command.footer(
      "Examples:\n"
      "  glasshook symbols 'vfs_*'\n"
      "  glasshook symbols do_exit --json");
}

}  // namespace glasshook::cli
