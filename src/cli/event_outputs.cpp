#include "cli/event_outputs.h"

#include <unistd.h>

#include <ranges>
#include <utility>

#include "cli/diagnostics.h"
#include "cli/trace_output.h"
#include "output/summary.h"

namespace glasshook::cli {
namespace {

output::LineSink standard_error() {
  return output::LineSink::borrow(STDERR_FILENO, "the standard error");
}

Result<behaviour::Weight> least_shown(std::string_view show) {
  if (show == "all") return behaviour::Weight::routine;
  if (show == "changes") return behaviour::Weight::change;
  if (show == "notable") return behaviour::Weight::notable;
  return with_remedy(fail(ErrorCode::invalid_argument, "--show '{}' is not known", show),
                     "all, changes or notable");
}

}  // namespace

Result<EventOutputs> EventOutputs::open(const WatchOptions& options, Live live, ColorMode color,
                                        const api::GuestApis& apis) {
  EventOutputs outputs;
  outputs.options_ = options;
  outputs.live_ = live;
  outputs.color_ = use_color(color, STDERR_FILENO);
  outputs.json_to_stdout_ = options.json == "-";
  outputs.apis_ = apis;
  const auto least = least_shown(options.show);
  if (!least) return std::unexpected(least.error());
  outputs.least_shown_ = *least;
  if (!options.json.empty()) {
    auto sink = output::LineSink::open(options.json);
    if (!sink) return std::unexpected(sink.error());
    outputs.json_.emplace(std::move(*sink));
  }
  return outputs;
}

void EventOutputs::begin(const std::string& host_id, Start start) {
  if (json_)
    outputs_.push_back(output::make_json_output(
        std::move(*json_), {.host_id = options_.host_id.empty() ? host_id : options_.host_id}));
  if (options_.quiet) return;
  outputs_.push_back(output::make_tree_output(standard_error(), tree_options()));
  if (!options_.json.empty() && !options_.live) return;
  awaits_first_event_ = start == Start::first_event;
  if (start == Start::now) begin_text(std::chrono::system_clock::now());
}

void EventOutputs::begin_text(std::chrono::system_clock::time_point start) {
  const output::TextOptions text{.color = color_, .wall_clock = options_.utc, .start = start};
  text_ = live_ == Live::trace ? make_trace_output(standard_error(), text, *apis_)
                               : output::make_text_output(standard_error(), text);
}

void EventOutputs::write(const behaviour::Event& event) {
  if (failure_) return;
  if (std::exchange(awaits_first_event_, false)) begin_text(event.time);
  if (text_ && is_shown(event)) keep(text_->write(event));
  for (const auto& output : outputs_) keep(output->write(event));
}

void EventOutputs::flush() {
  if (text_) keep(text_->flush());
  for (const auto& output : outputs_) keep(output->flush());
}

Result<> EventOutputs::finish(const output::Summary& summary) {
  if (text_) keep(text_->finish(summary));
  for (const auto& output : outputs_) keep(output->finish(summary));
  if (options_.quiet && summary.losses.any())
    write_all(STDERR_FILENO, output::render_summary(summary, tree_options()));
  if (failure_) return std::unexpected(*failure_);
  return {};
}

bool EventOutputs::is_shown(const behaviour::Event& event) const {
  const behaviour::ActionInfo* action = behaviour::find_action(event.action);
  return action == nullptr || action->weight >= least_shown_ || event.action == "api_called";
}

output::TreeOptions EventOutputs::tree_options() const {
  return {.color = color_,
          .show_tree = live_ == Live::text,
          .show_summary = true,
          .show_hooks = options_.hooks};
}

void EventOutputs::keep(const Result<>& result) {
  if (!result && !failure_) failure_ = result.error();
}

}  // namespace glasshook::cli
