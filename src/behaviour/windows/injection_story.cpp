#include "behaviour/windows/injection_story.h"

#include <algorithm>
#include <utility>

namespace glasshook::behaviour::windows {
namespace {

using Step = InjectionStory::Step;

std::string_view name_of(Step step) {
  switch (step) {
    case Step::created_suspended:
      return "created suspended";
    case Step::opened:
      return "opened";
    case Step::allocated:
      return "allocated memory";
    case Step::written:
      return "wrote memory";
    case Step::made_executable:
      return "made memory executable";
    case Step::section_mapped:
      return "mapped section";
    case Step::image_unmapped:
      return "unmapped section";
    case Step::thread_suspended:
      return "suspended thread";
    case Step::context_set:
      return "set thread context";
    case Step::apc_queued:
      return "queued APC";
    case Step::thread_created:
      return "created thread";
    case Step::thread_resumed:
      return "resumed thread";
  }
  return {};
}

/// ASCII of a text of bytes or of UTF-16, up to its end or to what is no text; else empty.
std::string text_in(std::string_view bytes) {
  const std::size_t width = bytes.size() >= 4 && bytes[1] == '\0' && bytes[3] == '\0' ? 2 : 1;
  std::string text;
  for (std::size_t i = 0; i + width <= bytes.size(); i += width) {
    const char c = bytes[i];
    if (c == '\0') break;
    if (c < ' ' || c > '~' || (width == 2 && bytes[i + 1] != '\0')) return {};
    text += c;
  }
  return text;
}

bool names_dll(std::string_view text) {
  constexpr std::string_view kEnd = ".dll";
  return text.size() > kEnd.size() &&
         std::ranges::equal(text.substr(text.size() - kEnd.size()), kEnd,
                            [](char a, char b) { return (a | 0x20) == (b | 0x20); });
}

}  // namespace

void InjectionStory::add(Step step) {
  if (!has(step)) steps_.push_back(step);
}

bool InjectionStory::has(Step step) const {
  return std::ranges::find(steps_, step) != steps_.end();
}

void InjectionStory::add_memory(std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0 || memory_.size() >= kMostRanges) return;
  const std::uint64_t end = address + bytes;
  memory_.push_back({address, end < address ? ~std::uint64_t{0} : end});
}

void InjectionStory::add_content(std::string_view bytes) {
  if (!library_.empty()) return;
  std::string text = text_in(bytes);
  if (names_dll(text)) library_ = std::move(text);
}

void InjectionStory::add_written(std::uint64_t address, std::uint64_t bytes) {
  if (bytes_ == 0) first_address_ = address;
  bytes_ += bytes;
  fresh_ = true;
}

bool InjectionStory::has_memory_at(std::uint64_t address) const {
  return std::ranges::any_of(
      memory_, [&](const Range& range) { return address >= range.begin && address < range.end; });
}

bool InjectionStory::take_fresh() { return std::exchange(fresh_, false); }

std::vector<std::string> InjectionStory::step_names() const {
  std::vector<std::string> names;
  for (const Step step : steps_) names.emplace_back(name_of(step));
  return names;
}

std::string_view InjectionStory::method(InjectionStart start, std::uint64_t address) const {
  if (loads_library(address)) return "dll injection";
  const bool suspended = has(Step::created_suspended);
  switch (start) {
    case InjectionStart::remote_thread:
      return "remote thread";
    case InjectionStart::apc:
      return "asynchronous procedure call";
    case InjectionStart::thread_context:
      return suspended ? "process hollowing" : "thread execution hijacking";
    case InjectionStart::resumed:
      return "process hollowing";
  }
  return {};
}

std::string_view InjectionStory::technique(InjectionStart start, std::uint64_t address) const {
  if (loads_library(address)) return "T1055.001";
  switch (start) {
    case InjectionStart::remote_thread:
      return "T1055.002";
    case InjectionStart::apc:
      return "T1055.004";
    case InjectionStart::thread_context:
      return has(Step::created_suspended) ? "T1055.012" : "T1055.003";
    case InjectionStart::resumed:
      return "T1055.012";
  }
  return {};
}

}  // namespace glasshook::behaviour::windows
