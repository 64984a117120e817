// glasshook demo: short, harmless intrusions in a fresh VM, watched. A process plays one story: the
// watching confines it for good.
#include <filesystem>

#include "cli/diagnostics.h"
#include "cli/guest_run.h"
#include "cli/interrupts.h"
#include "machine/image.h"
#include "machine/resources.h"

namespace glasshook::cli {
namespace {

namespace fs = std::filesystem;

struct Story {
  const char* name;
  const char* guest;
  const char* script;   ///< of guests/demo
  const char* program;  ///< made by the build, which the script runs; empty: none
  const char* json;
};

constexpr Story kLinux{"linux", "linux", "story.sh", "", "events.jsonl"};
constexpr Story kWindows{"windows", "windows-api", "dropper.sh", "dropper.exe",
                         "events-windows.jsonl"};

Result<const Story*> find_story(std::string_view name) {
  for (const Story* story : {&kLinux, &kWindows})
    if (name == story->name) return story;
  return with_remedy(fail(ErrorCode::invalid_argument, "no story is called '{}'", name),
                     "linux or windows");
}

/// A program of the demo: where the build left it, or with the data of an installation.
Result<fs::path> program_file(const fs::path& guests, const char* name) {
  std::error_code error;
  for (const fs::path& directory : {machine::generated_directory("guests"), guests})
    if (fs::path file = directory / "demo" / name; fs::exists(file, error)) return file;
  return with_remedy(
      fail(ErrorCode::not_found, "the demo's {} was not built: there was no compiler for it", name),
      "apt install gcc-mingw-w64-x86-64-win32, then scripts/build");
}

/// What the guest needs to play.
Result<std::vector<std::string>> files_of(const Story& story) {
  const auto guests = machine::data_directory("guests");
  if (!guests) return std::unexpected(guests.error());
  std::vector<std::string> files = {*guests / "demo" / story.script};
  if (*story.program == '\0') return files;
  const auto program = program_file(*guests, story.program);
  if (!program) return std::unexpected(program.error());
  files.push_back(*program);
  return files;
}

/// Builds the image the story runs in, unless it is there.
Result<> build_image(const char* name) {
  const Interrupts interrupts;
  const auto store = machine::ImageStore::open();
  if (!store) return std::unexpected(store.error());
  Progress progress;
  const auto image = store->build(name, false, [&](std::string_view step) { progress.step(step); });
  return image ? Result<>() : std::unexpected(image.error());
}

Result<int> play(const std::string& name, const std::string& json, ColorMode color) {
  const auto story = find_story(name);
  if (!story) return std::unexpected(story.error());
  const auto files = files_of(**story);
  if (!files) return std::unexpected(files.error());
  if (auto ok = build_image((*story)->guest); !ok) return std::unexpected(ok.error());
  GuestRunOptions run;
  run.guest.guest = (*story)->guest;
  run.guest.copies = *files;
  run.watch.json = json.empty() ? (*story)->json : json;
  run.watch.live = true;
  run.watch.show = "changes";
  run.watch.timeout = "2m";
  run.command = {"sh", std::string("./") + (*story)->script};
  auto status = run_in_guest(run, color);
  if (status == kSuccess && run.watch.json != "-")
    print_note("the same events for programs are in " + run.watch.json);
  return status;
}

}  // namespace

void add_demo(CommandBuilder program) {
  const CommandBuilder command =
      program.add("demo", "Watch a short, harmless intrusion in a fresh VM");
  struct Options {
    std::string story = kLinux.name;
    std::string json;
  };
  auto options = std::make_shared<Options>();
  command.value("STORY", options->story, "linux (default) or windows", "linux|windows");
  command.value("--json", options->json,
                "Where the events go too (default: events.jsonl; of windows, events-windows.jsonl)",
                "FILE");
  command.footer(
      "linux: a shell drops and runs a script, which hides a file, edits cron, connects out,\n"
      "  injects into another process, and runs a program from memory (guests/demo/story.sh).\n"
      "windows: a dropper hides a copy of itself, enters it in the registry to be run at every\n"
      "  log-on, starts a program of Windows suspended, makes that run code of its own instead,\n"
      "  and deletes its traces (guests/demo/dropper.c).\n"
      "The first time, the guest image is built: some minutes. Nothing leaves the VM.");
  command.runs([options](const Invocation& invocation) {
    return play(options->story, options->json, invocation.color);
  });
}

}  // namespace glasshook::cli
