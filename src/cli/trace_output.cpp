#include "cli/trace_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/errno.h"
#include "api/format.h"
#include "base/text.h"
#include "behaviour/time_text.h"
#include "output/describe.h"
#include "output/style.h"

namespace glasshook::cli {
namespace {

using behaviour::Event;
using behaviour::Value;

constexpr std::string_view kArguments = "api.args.";
constexpr std::uint64_t kMaxIndent = 32;
constexpr std::size_t kNameColumns = 15;  ///< TASK_COMM_LEN - 1

template <class T>
T value_or(const Event& event, std::string_view name, const T& otherwise) {
  const Value* value = event.find(name);
  const T* held = value != nullptr ? std::get_if<T>(value) : nullptr;
  return held != nullptr ? *held : otherwise;
}

/// Whether a text argument is guest data (in quotes) rather than the name of a value.
bool is_quoted(const api::Signature* signature, std::string_view parameter) {
  using enum api::TypeKind;
  if (signature == nullptr) return true;
  const auto found = std::ranges::find(signature->parameters, parameter, &api::Parameter::name);
  if (found == signature->parameters.end()) return true;
  const api::TypeKind kind = found->type.kind;
  return kind == string || kind == path || kind == utf16 || kind == buffer;
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text = "[";
  for (const std::string& item : items) {
    if (text.size() > 1) text += ", ";
    text += api::quote(item);
  }
  return text + "]";
}

std::string value_text(const Value& value, bool quoted) {
  if (const auto* text = std::get_if<std::string>(&value))
    return quoted ? api::quote(*text) : to_printable(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) return list_text(*list);
  if (const auto* yes = std::get_if<bool>(&value)) return *yes ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *number);
  const auto number = std::get<std::uint64_t>(value);
  return number > 0xffff'ffff ? fmt::format("{:#x}", number) : fmt::format("{}", number);
}

/// " (No such file or directory)" for "ENOENT".
std::string error_words(std::string_view name) {
  for (std::uint32_t number = 1; number <= api::kMaxErrno; ++number)
    if (api::errno_name(number) == name)
      return fmt::format(" {} ({})", name, api::errno_message(number));
  return fmt::format(" {}", to_printable(name));
}

class TraceOutput final : public output::Output {
 public:
  TraceOutput(output::LineSink sink, output::TextOptions options, const api::GuestApis& apis)
      : sink_(std::move(sink)),
        options_(options),
        style_(output::style(options.color)),
        apis_(apis) {}

  Result<> write(const Event& event) override {
    if (event.action != "api_called") return {};
    const auto depth = std::min(value_or<std::uint64_t>(event, "api.depth", 0), kMaxIndent);
    return sink_.write(fmt::format(
        "{}{}{} {}  {:{}}{}{}\n", style_.dim, time_text(event), style_.reset, process_text(event),
        "", depth * 2, output::cut_to(call_text(event), options_.max_target), result_text(event)));
  }
  Result<> flush() override { return sink_.flush(); }
  Result<> finish(const output::Summary&) override { return sink_.flush(); }

 private:
  [[nodiscard]] std::string time_text(const Event& event) const {
    if (options_.wall_clock) return behaviour::iso_time(event.time).substr(11, 15);
    return fmt::format("{:11.6f}",
                       std::chrono::duration<double>(event.time - options_.start).count());
  }

  [[nodiscard]] static std::string process_text(const Event& event) {
    std::string name = event.process ? to_printable(event.process->name) : "?";
    name = output::cut_to(std::move(name), kNameColumns);
    name.append(kNameColumns - std::min(output::text_width(name), kNameColumns), ' ');
    return fmt::format("{} {:>7}", name, event.thread_id);
  }

  [[nodiscard]] std::string call_text(const Event& event) const {
    const auto module = value_or<std::string>(event, "api.module", {});
    const auto name = value_or<std::string>(event, "api.name", {});
    const api::Signature* signature = apis_.find(module, name);
    std::string text = to_printable(name) + "(";
    bool first = true;
    for (const behaviour::Field& field : event.fields) {
      if (!field.name.starts_with(kArguments)) continue;
      if (!first) text += ", ";
      first = false;
      text += value_text(field.value, is_quoted(signature, field.name.substr(kArguments.size())));
    }
    return text + ")";
  }

  [[nodiscard]] std::string result_text(const Event& event) const {
    const Value* result = event.find("api.result");
    if (result == nullptr) return " = ?";
    std::string text = " = " + value_text(*result, false);
    const auto error = value_or<std::string>(event, "api.error", {});
    if (!error.empty())
      text += fmt::format("{}{}{}", style_.notable, error_words(error), style_.reset);
    const auto nanoseconds = value_or<std::uint64_t>(event, "event.duration", 0);
    return fmt::format("{} {}<{:.6f}>{}", text, style_.dim, static_cast<double>(nanoseconds) / 1e9,
                       style_.reset);
  }

  output::LineSink sink_;
  output::TextOptions options_;
  output::Style style_;
  api::GuestApis apis_;
};

}  // namespace

std::unique_ptr<output::Output> make_trace_output(output::LineSink sink,
                                                  output::TextOptions options,
                                                  const api::GuestApis& apis) {
  return std::make_unique<TraceOutput>(std::move(sink), options, apis);
}

}  // namespace glasshook::cli
