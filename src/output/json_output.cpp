#include "output/json_line.h"
#include "output/output.h"

namespace glasshook::output {
namespace {

class JsonOutput final : public Output {
 public:
  JsonOutput(LineSink sink, const JsonOptions& options) : sink_(std::move(sink)), lines_(options) {}

  Result<> write(const behaviour::Event& event) override {
    last_time_ = std::max(last_time_, event.time);
    return sink_.write(lines_.event(event));
  }

  Result<> flush() override { return sink_.flush(); }

  Result<> finish(const Summary& summary) override {
    if (Result<> written = sink_.write(lines_.summary(summary, last_time_)); !written)
      return written;
    return sink_.flush();
  }

 private:
  LineSink sink_;
  JsonLines lines_;
  std::chrono::system_clock::time_point last_time_;
};

}  // namespace

std::unique_ptr<Output> make_json_output(LineSink sink, const JsonOptions& options) {
  return std::make_unique<JsonOutput>(std::move(sink), options);
}

}  // namespace glasshook::output
