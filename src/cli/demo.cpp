// glasshook demo: a short, harmless intrusion in a fresh VM, watched.
#include "cli/diagnostics.h"
#include "cli/guest_run.h"
#include "cli/interrupts.h"
#include "machine/image.h"
#include "machine/resources.h"

namespace glasshook::cli {
namespace {

/// Builds the image the story runs in, unless it is there.
Result<> build_image() {
  const Interrupts interrupts;
  const auto store = machine::ImageStore::open();
  if (!store) return std::unexpected(store.error());
  Progress progress;
  const auto image =
      store->build("linux", false, [&](std::string_view step) { progress.step(step); });
  return image ? Result<>() : std::unexpected(image.error());
}

Result<int> play(const std::string& json, ColorMode color) {
  const auto guests = machine::data_directory("guests");
  if (!guests) return std::unexpected(guests.error());
  if (auto ok = build_image(); !ok) return std::unexpected(ok.error());
  GuestRunOptions run;
  run.guest.copies = {*guests / "demo/story.sh"};
  run.watch.json = json;
  run.watch.live = true;
  run.watch.show = "changes";
  run.watch.timeout = "2m";
  run.command = {"sh", "./story.sh"};
  auto status = run_in_guest(run, color);
  if (status == kSuccess && json != "-") print_note("the same events for programs are in " + json);
  return status;
}

}  // namespace

void add_demo(CommandBuilder program) {
  const CommandBuilder command =
      program.add("demo", "Watch a short, harmless intrusion in a fresh VM");
  auto json = std::make_shared<std::string>("events.jsonl");
  command.value("--json", *json, "Where the events go too (default: events.jsonl)", "FILE");
  command.footer(
      "A shell drops and runs a script, which hides a file, edits cron, connects out, injects\n"
      "into another process, and runs a program from memory. The first time, the guest image is\n"
      "built: some minutes. The script is guests/demo/story.sh; nothing leaves the VM.");
  command.runs([json](const Invocation& invocation) { return play(*json, invocation.color); });
}

}  // namespace glasshook::cli
