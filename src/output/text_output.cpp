#include <fmt/format.h>

#include <iterator>

#include "base/text.h"
#include "behaviour/time_text.h"
#include "output/describe.h"
#include "output/output.h"
#include "output/style.h"

namespace glasshook::output {
namespace {

using behaviour::Event;

constexpr std::size_t kNameColumns = 15;  ///< TASK_COMM_LEN - 1
constexpr std::size_t kWordColumns = 19;

class TextOutput final : public Output {
 public:
  TextOutput(LineSink sink, TextOptions options)
      : sink_(std::move(sink)), options_(options), style_(style(options.color)) {}

  Result<> write(const Event& event) override {
    line_.clear();
    const Description d = describe(event);
    auto out = std::back_inserter(line_);
    fmt::format_to(out, "{}{}{} ", style_.dim, time_text(event), style_.reset);
    append_process(event);
    const std::string_view color = color_of(style_, d.weight);
    fmt::format_to(out, "  {}{:<{}}{}", color, d.words, kWordColumns,
                   color.empty() ? "" : style_.reset);
    if (!d.target.empty()) fmt::format_to(out, " {}", cut_to(d.target, options_.max_target));
    if (!d.result.empty())
      fmt::format_to(out, "  {}{}{}", style_.dim, cut_to(d.result, options_.max_target),
                     style_.reset);
    while (line_.ends_with(' ')) line_.pop_back();
    line_ += '\n';
    return sink_.write(line_);
  }

  Result<> flush() override { return sink_.flush(); }
  Result<> finish(const Summary&) override { return sink_.flush(); }

 private:
  [[nodiscard]] std::string time_text(const Event& event) const {
    if (options_.wall_clock) return behaviour::iso_time(event.time).substr(11, 15);
    const auto since = std::chrono::duration<double>(event.time - options_.start).count();
    return fmt::format("{:11.6f}", since);
  }

  void append_process(const Event& event) {
    const std::string name =
        event.process ? cut_to(process_name(*event.process), kNameColumns) : "?";
    line_ += name;
    line_.append(kNameColumns - std::min(text_width(name), kNameColumns), ' ');
    if (event.process)
      fmt::format_to(std::back_inserter(line_), " {:>7}", event.process->pid);
    else
      line_.append(8, ' ');
  }

  LineSink sink_;
  TextOptions options_;
  Style style_;
  std::string line_;
};

}  // namespace

std::unique_ptr<Output> make_text_output(LineSink sink, TextOptions options) {
  return std::make_unique<TextOutput>(std::move(sink), options);
}

}  // namespace glasshook::output
