// glasshook replay: a recorded session again, without a VM.
#include "cli/catalogue.h"
#include "cli/command.h"
#include "cli/interrupts.h"
#include "cli/session_note.h"
#include "cli/walls.h"
#include "cli/watch_loop.h"

namespace glasshook::cli {
namespace {

Result<int> replay(const std::string& file, const WatchOptions& options, ColorMode color) {
  Interrupts interrupts;
  const auto timeout = timeout_of(options);
  if (!timeout) return std::unexpected(timeout.error());
  auto recording = open_recording(file);
  if (!recording) return std::unexpected(recording.error());
  const auto apis = load_apis(recording->note.windows_apis);
  if (!apis) return std::unexpected(apis.error());
  const auto& behaviours = recording->note.options.behaviours;
  const bool trace = behaviours == std::vector<std::string>{"none"};
  auto outputs = EventOutputs::open(
      options, trace ? EventOutputs::Live::trace : EventOutputs::Live::text, color, apis->view());
  if (!outputs) return std::unexpected(outputs.error());
  const std::string host_id = recording->note.options.host_id;
  if (auto ok = raise_walls(); !ok) return std::unexpected(ok.error());
  const auto session = monitor::Session::start(
      std::move(recording->player), apis->view(), std::move(recording->note.options),
      [&](const behaviour::Event& event) { outputs->write(event); });
  if (!session) return std::unexpected(session.error());
  interrupts.handle_in_order();
  outputs->begin(host_id, EventOutputs::Start::first_event);
  const auto end = watch({**session, *outputs, interrupts, *timeout}, [] { return false; });
  const auto concluded = conclude(**session, *outputs);
  if (!end) return std::unexpected(end.error());
  if (!concluded) return std::unexpected(concluded.error());
  return *end == WatchEnd::interrupted ? kInterrupted : kSuccess;
}

}  // namespace

void add_replay(CommandBuilder program) {
  const CommandBuilder command = program.add("replay", "Show a recorded session again");
  auto file = std::make_shared<std::string>();
  auto options = std::make_shared<WatchOptions>();
  command.value("FILE", *file, "What --record wrote", "FILE").required();
  add_output_options(command, *options);
  command.footer(
      "No VM is needed: the recording holds what was captured and the guest memory that was read.\n"
      "It gives the same events again, in any output form.\n"
      "\n"
      "Examples:\n"
      "  glasshook run --record session.ghrec -- sh ./sample.sh\n"
      "  glasshook replay session.ghrec\n"
      "  glasshook replay session.ghrec --json - | jq -c .event.action");
  command.runs([file, options](const Invocation& invocation) {
    return replay(*file, *options, invocation.color);
  });
}

}  // namespace glasshook::cli
