// glasshook image: guests that can be run.
#include "machine/image.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/diagnostics.h"
#include "cli/interrupts.h"
#include "cli/listing.h"
#include "machine/guest.h"

namespace glasshook::cli {
namespace {

using machine::Image;
using machine::ImageStore;

struct Options {
  std::string name = "linux";
  bool rebuild = false;
  bool json = false;
};

Result<int> build(const Options& options, ColorMode) {
  const Interrupts interrupts;
  const auto store = ImageStore::open();
  if (!store) return std::unexpected(store.error());
  Progress progress;
  const auto show = [&](std::string_view step) { progress.step(step); };
  const auto image = store->build(options.name, options.rebuild, show);
  if (!image) return std::unexpected(image.error());
  const auto snapshot = store->snapshot(*image, machine::MachineShape{}, show);
  if (!snapshot) return std::unexpected(snapshot.error());
  progress.clear();
  write_all(STDOUT_FILENO, fmt::format("{} is ready: {}\n", image->id(), image->kernel));
  return kSuccess;
}

Result<int> list(const Options& options, ColorMode color) {
  const auto store = ImageStore::open();
  if (!store) return std::unexpected(store.error());
  Listing listing({{"NAME", "name"},
                   {"ID", "id"},
                   {"KERNEL", "kernel"},
                   {"MIB", "", true},
                   {"", "bytes"},
                   {"CURRENT", "current"},
                   {"", "directory"}});
  for (const Image& image : store->list())
    listing.add({image.name, image.id(), image.kernel, image.bytes >> 20, image.bytes,
                 image.current, image.directory.native()});
  if (listing.empty() && !options.json) {
    print_note(fmt::format("no image is built; 'glasshook image build' makes one of: {}",
                           fmt::join(store->guests(), ", ")));
    return kSuccess;
  }
  listing.print(options.json, use_color(color, STDOUT_FILENO));
  return kSuccess;
}

Result<int> remove(const Options& options, ColorMode) {
  const auto store = ImageStore::open();
  if (!store) return std::unexpected(store.error());
  const auto removed = store->remove(options.name);
  if (!removed) return std::unexpected(removed.error());
  if (*removed == 0)
    return with_remedy(fail(ErrorCode::not_found, "there is no image '{}'", options.name),
                       "glasshook image list");
  write_all(STDOUT_FILENO, fmt::format("removed {} image{}\n", *removed, *removed == 1 ? "" : "s"));
  return kSuccess;
}

}  // namespace

void add_image(CommandBuilder program) {
  const CommandBuilder command = program.add("image", "Build, list and remove guest images");
  command.needs_subcommand();
  auto options = std::make_shared<Options>();
  const auto add = [&](const char* name, const char* description, auto run) {
    const CommandBuilder sub = command.add(name, description);
    sub.runs([options, run](const Invocation& i) { return run(*options, i.color); });
    return sub;
  };
  const CommandBuilder builder = add("build", "Build an image and its snapshot", build);
  builder.value("NAME", options->name,
                "Guest (default: linux, of this machine's own Debian release)");
  builder.flag("--rebuild", options->rebuild, "Even when it is there");
  add("list", "Images that are built", list)
      .flag("--json", options->json, "JSON Lines instead of a table");
  add("rm", "Remove images and their snapshots", remove)
      .value("NAME", options->name, "Name or id, as the list shows them")
      .required();
  command.footer(
      "An image is a Debian with kernel, built from packages, and a snapshot of it once it has\n"
      "booted. The guest linux is the release of this machine; linux-bullseye (kernel 5.10),\n"
      "linux-bookworm (6.1) and linux-trixie (6.12) are what they say. Images are kept in\n"
      "~/.cache/glasshook ($GLASSHOOK_CACHE) and never written: every run begins with the same\n"
      "state. Building takes some minutes and needs no root where user namespaces are on.\n"
      "\n"
      "Examples:\n"
      "  glasshook image build linux\n"
      "  glasshook image build linux-trixie\n"
      "  glasshook image build windows-api\n"
      "  glasshook image list\n"
      "  glasshook image rm linux");
}

}  // namespace glasshook::cli
