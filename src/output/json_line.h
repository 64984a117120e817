// Events as single lines of ECS JSON.
#pragma once

#include <memory>
#include <string_view>

#include "output/output.h"

namespace glasshook::output {

/// Version of the JSON lines: the second number grows with additions, the first when something that
/// was there changes its name or meaning.
inline constexpr std::string_view kSchemaVersion = "1.2";

/// Renders events; what a process is made of is rendered once and kept while it is in use.
class JsonLines {
 public:
  explicit JsonLines(const JsonOptions& options);
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  /// One line with its newline; valid until the next call.
  [[nodiscard]] std::string_view event(const behaviour::Event& event);
  /// The closing line of a session.
  [[nodiscard]] std::string_view summary(const Summary& summary,
                                         std::chrono::system_clock::time_point time);

 private:
  class Renderer;
  std::unique_ptr<Renderer> renderer_;
};

}  // namespace glasshook::output
