// A made-up guest for family tests: builds records by capture name and notes what is published.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "behaviour/actions.h"
#include "behaviour/family.h"

namespace glasshook::behaviour::testing {

/// Bytes of a record in the layout of capture/record.h.
class RecordBuilder {
 public:
  RecordBuilder(capture::RecordKind kind, std::uint64_t call) {
    header_.kind = kind;
    header_.call = call;
  }

  RecordBuilder& words(std::uint16_t id, const std::vector<std::uint64_t>& values) {
    return field(id, capture::FieldKind::words,
                 {reinterpret_cast<const char*>(values.data()), values.size() * 8});
  }
  RecordBuilder& field(std::uint16_t id, capture::FieldKind kind, std::string_view data,
                       std::uint8_t flags = 0) {
    const capture::FieldHeader field{.id = id,
                                     .kind = kind,
                                     .flags = flags,
                                     .length = static_cast<std::uint16_t>(data.size()),
                                     .detail = 0,
                                     .reserved = 0};
    body_.append(reinterpret_cast<const char*>(&field), sizeof field);
    body_ += data;
    body_.resize((body_.size() + 7) & ~std::size_t{7});
    return *this;
  }

  [[nodiscard]] std::vector<std::byte> build() {
    header_.size = static_cast<std::uint32_t>(sizeof header_ + body_.size());
    std::vector<std::byte> bytes(header_.size);
    std::memcpy(bytes.data(), &header_, sizeof header_);
    std::memcpy(bytes.data() + sizeof header_, body_.data(), body_.size());
    return bytes;
  }

 private:
  capture::RecordHeader header_;
  std::string body_;
};

/// One captured value of a test call.
struct Captured {
  std::string name;
  std::optional<std::uint64_t> word;
  std::string text;
  std::uint8_t flags = 0;

  template <std::integral T>
  Captured(std::string n, T value) : name(std::move(n)), word(static_cast<std::uint64_t>(value)) {}
  Captured(std::string n, std::string value, std::uint8_t f = 0)
      : name(std::move(n)), text(std::move(value)), flags(f) {}
  Captured(std::string n, const char* value) : name(std::move(n)), text(value) {}
};

/// One argument of a test call of a user-mode function.
struct Argument {
  std::string name;
  std::uint64_t raw = 0;
  std::string data = {};  ///< what it points to; captured when it is not empty
  std::vector<api::NestedValue> nested = {};
  bool truncated = false;
};

/// The eight bytes of a number, as an out-parameter points to them.
inline std::string bytes_of(std::uint64_t number, std::size_t count = 8) {
  return {reinterpret_cast<const char*>(&number), count};
}

/// What is captured of OBJECT_ATTRIBUTES, as argument `name`.
inline Argument attributes(std::string object_name, std::uint64_t root = 0,
                           std::uint64_t flags = 0) {
  std::string bytes(48, '\0');
  std::memcpy(bytes.data() + 8, &root, sizeof root);
  std::memcpy(bytes.data() + 24, &flags, 4);
  // The name is a structure that is but a text: both have the path.
  return {"ObjectAttributes",
          0x1000,
          bytes,
          {{"ObjectName", std::string(16, '\x7f'), false},
           {"ObjectName", std::move(object_name), false}}};
}

/// Any argument a Windows family may look at, with values that make no sense.
inline std::vector<Argument> wild_arguments(std::uint64_t round) {
  constexpr const char* kNames[] = {"FileHandle",
                                    "KeyHandle",
                                    "Handle",
                                    "ObjectAttributes",
                                    "IoStatusBlock",
                                    "FileInformation",
                                    "FileInformationClass",
                                    "Length",
                                    "DesiredAccess",
                                    "CreateOptions",
                                    "OpenOptions",
                                    "FileName",
                                    "Disposition",
                                    "ValueName",
                                    "NewName",
                                    "Type",
                                    "Data",
                                    "DataSize",
                                    "KeyValueInformation",
                                    "KeyValueInformationClass",
                                    "SourceProcessHandle",
                                    "SourceHandle",
                                    "TargetProcessHandle",
                                    "TargetHandle",
                                    "Options",
                                    "HandleAttributes",
                                    "ObjectInformation",
                                    "ObjectInformationClass",
                                    "ProcessFlags",
                                    "ProcessHandle",
                                    "ThreadHandle",
                                    "ProcessParameters",
                                    "ClientId"};
  constexpr std::uint64_t kNumbers[] = {0, 1, 2, 4, 7, 10, 11, 13, 20, 64, 65, 72, ~0ull, 0x8000};
  std::vector<Argument> arguments;
  std::uint64_t seed = round * 0x9e3779b97f4a7c15 + 1;
  const auto next = [&] { return seed = seed * 6364136223846793005 + 1442695040888963407; };
  for (const char* name : kNames) {
    if (next() >> 60 == 0) continue;  // missing
    Argument argument{name, kNumbers[(next() >> 33) % std::size(kNumbers)]};
    argument.data.resize((next() >> 40) % 80);
    for (char& byte : argument.data)
      byte = static_cast<char>(next() >> 62 == 0 ? next() >> 50 : next() >> 61);
    if (next() >> 62 != 0) {
      const std::string text = next() >> 63 != 0 ? "\\??\\C:\\\0\xff" : "\\Registry\\Machine";
      for (const char* path : {"ObjectName", "", "ImagePathName"})
        argument.nested.push_back({path, text, false});
    }
    argument.truncated = next() >> 63 != 0;
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

/// UTF-16LE of ASCII.
inline std::string wide(std::string_view ascii) {
  std::string text;
  for (const char c : ascii) (text += c) += '\0';
  return text;
}

/// Who calls and when.
struct Caller {
  std::shared_ptr<const Process> process;
  std::uint64_t syscall = ~std::uint64_t{0};
  std::uint64_t user_ip = 0x401000;
  std::uint64_t call = 1;  ///< 1: of user calls, each gets another
  int seconds = 0;
  std::uint64_t task = 0xffff'8880'0000'1000;
  std::uint32_t win32_process_id = 0;
  std::uint64_t address = 0;         ///< of the function that is called
  std::uint64_t return_address = 0;  ///< of a call of a Windows function
};

inline std::shared_ptr<Process> make_process(std::uint32_t pid, std::string name = "prog") {
  auto p = std::make_shared<Process>();
  p->pid = pid;
  p->start_time = pid * 1000ull;
  p->entity_id = "entity-" + std::to_string(pid);
  p->name = name;
  p->executable = "/usr/bin/" + name;
  return p;
}

inline std::chrono::system_clock::time_point at_second(int seconds) {
  return std::chrono::system_clock::time_point{std::chrono::seconds{1'000'000 + seconds}};
}

/// Runs one family against calls; notes events. Path and dentry captures are plain text here.
class FakeGuest : public Context {
 public:
  explicit FakeGuest(std::string_view family) {
    for (auto& candidate : make_families())
      if (candidate->name() == family) family_ = std::move(candidate);
    EXPECT_TRUE(family_) << family;
    hooks_ = family_->hooks();
    apis_ = family_->apis();
  }

  /// Sends the record of one hook. `which` chooses among hooks on the same function.
  void call(std::string_view function, bool is_exit, const Caller& caller,
            const std::vector<Captured>& captured, int which = 0) {
    std::size_t index = 0;
    for (; index < hooks_.size(); ++index)
      if (hooks_[index].functions.front() == function && which-- == 0) break;
    ASSERT_LT(index, hooks_.size()) << "no hook on " << function;
    send(index, is_exit, caller, captured);
  }

  void send(std::size_t index, bool is_exit, const Caller& caller,
            const std::vector<Captured>& captured) {
    const hook::HookSpec& spec = hooks_[index];
    ASSERT_TRUE(is_exit ? spec.exit.enabled : spec.entry.enabled);
    RecordBuilder record(is_exit ? capture::RecordKind::exit : capture::RecordKind::entry,
                         caller.call);
    const std::uint64_t pid = caller.process ? caller.process->pid : 0;
    record.words(hook::kContextField,
                 {caller.task, pid << 32 | pid, caller.process ? caller.process->start_time : 0,
                  caller.user_ip, caller.syscall, 0});
    const auto& captures = is_exit ? spec.exit.captures : spec.entry.captures;
    const std::size_t first = is_exit ? spec.entry.captures.size() : 0;
    // Words of captures that follow each other come as one field, as the hook compiler has them.
    std::vector<std::uint64_t> words;
    std::uint16_t words_id = 0;
    const auto add_words = [&] {
      if (!words.empty()) record.words(words_id, words);
      words.clear();
    };
    for (const Captured& value : captured) {
      std::size_t at = 0;
      // The same name may occur twice (two files of one call): the second use means the second.
      int skip = used_before(captured, value);
      for (; at < captures.size(); ++at)
        if (captures[at].name == value.name && skip-- == 0) break;
      ASSERT_LT(at, captures.size()) << "no capture " << value.name;
      const auto id = static_cast<std::uint16_t>(hook::kFirstCapture + first + at);
      if (!value.word || id != words_id + words.size()) add_words();
      if (!value.word) {
        record.field(id, capture::FieldKind::bytes, value.text, value.flags);
      } else {
        if (words.empty()) words_id = id;
        words.push_back(*value.word);
      }
    }
    add_words();
    bytes_ = record.build();
    capture::RecordView view;
    ASSERT_TRUE(capture::RecordView::parse(bytes_, view));
    const Call decoded(view, spec, index, at_second(caller.seconds), caller.process);
    family_->on_any_call(decoded, *this);
    family_->on_call(decoded, *this);
  }

  /// A call of a user-mode function that has returned; `result` is an NTSTATUS.
  void user_call(std::string_view function, const Caller& caller,
                 const std::vector<Argument>& arguments, std::uint64_t result = 0) {
    tell_user_call(function, caller, arguments, result, true);
  }
  /// One that begins (for families that asked for entries).
  void user_call_entered(std::string_view function, const Caller& caller,
                         const std::vector<Argument>& arguments) {
    tell_user_call(function, caller, arguments, std::nullopt, true);
  }
  /// One whose return was not seen.
  void unreturned_user_call(std::string_view function, const Caller& caller,
                            const std::vector<Argument>& arguments) {
    tell_user_call(function, caller, arguments, std::nullopt, false);
  }

  Family& family() { return *family_; }

  /// The only event since the last look; fails the test when there is not exactly one.
  Event only() {
    EXPECT_EQ(events.size(), 1u);
    Event event = events.empty() ? Event{} : events.front();
    events.clear();
    return event;
  }
  /// Actions since the last look.
  std::vector<std::string> actions() {
    std::vector<std::string> names;
    for (const Event& event : events) names.emplace_back(event.action);
    events.clear();
    return names;
  }

  // Context
  void emit(const Call& call, Event event) override {
    if (!event.process) event.process = call.process();
    if (event.time == std::chrono::system_clock::time_point{}) event.time = call.time();
    emit(std::move(event));
  }
  void emit(const UserCall& call, Event event) override {
    if (!event.process) event.process = call.process;
    if (event.time == std::chrono::system_clock::time_point{}) event.time = call.ended;
    emit(std::move(event));
  }
  void emit(Event event) override {
    EXPECT_NE(find_action(event.action), nullptr) << event.action;
    events.push_back(std::move(event));
  }
  std::string path(const Call& call, std::size_t capture) override {
    return std::string{call.text(capture)};
  }
  std::string file_path(const Call&, std::uint64_t file) override {
    ++file_path_reads;
    const auto found = files.find(file);
    return found == files.end() ? "" : found->second;
  }
  CodePlace code_origin(const Call&) override { return origin; }
  std::optional<std::string> windows_module_at(const UserCall&, std::uint64_t) override {
    ++module_reads;
    return windows_module;
  }
  std::shared_ptr<const Process> process_by_pid(std::uint32_t pid) override {
    const auto found = processes.find(pid);
    return found == processes.end() ? nullptr : found->second;
  }
  std::optional<std::string> container_id(std::uint64_t control_groups) override {
    const auto found = containers.find(control_groups);
    return found == containers.end() ? std::nullopt : std::optional(found->second);
  }
  std::shared_ptr<const Process> process_forked(const Call& call, std::uint64_t,
                                                Process child) override {
    child.parent = call.process();
    return std::make_shared<Process>(std::move(child));
  }
  std::shared_ptr<const Process> process_executed(const Call&, Process image) override {
    return std::make_shared<Process>(std::move(image));
  }
  void process_moved(std::uint32_t pid, std::uint64_t start_time,
                     const std::string& container_id) override {
    moved = fmt::format("{} {} {}", pid, start_time, container_id);
  }
  void kernel_code_patched(std::uint64_t address, std::uint64_t length) override {
    patched = fmt::format("{:#x} {}", address, length);
  }
  void kernel_module_loaded(std::uint64_t module) override { loaded_module = module; }
  void kernel_entry_set(std::uint64_t lstar, std::uint64_t) override { entry = lstar; }
  void process_exited(const Call& call) override {
    exited = call.process();
    family_->on_process_exit(call.process(), *this);
  }

  std::vector<Event> events;
  std::map<std::uint64_t, std::string> files;
  std::map<std::uint32_t, std::shared_ptr<const Process>> processes;
  std::map<std::uint64_t, std::string> containers;  ///< by css_set
  std::uint64_t entry = 0;                          ///< the last kernel_entry_set()
  std::string patched;                              ///< the last kernel_code_patched()
  std::uint64_t loaded_module = 0;
  std::string moved;  ///< the last process_moved()
  CodePlace origin;
  std::optional<std::string> windows_module = "ntdll.dll";
  int file_path_reads = 0;
  int module_reads = 0;
  std::shared_ptr<const Process> exited;

 private:
  void tell_user_call(std::string_view function, const Caller& caller,
                      const std::vector<Argument>& arguments, std::optional<std::uint64_t> result,
                      bool is_seen) {
    const auto wanted = std::ranges::find_if(apis_, [&](const WantedApi& api) {
      return api.selector == function || api.selector.ends_with("!" + std::string(function));
    });
    ASSERT_NE(wanted, apis_.end()) << "the family does not ask for " << function;
    api::Signature signature;
    signature.module = wanted->selector.substr(0, wanted->selector.find('!'));
    signature.name = wanted->selector.substr(wanted->selector.find('!') + 1);
    api::ApiCall call;
    call.signature = &signature;
    for (const Argument& given : arguments) {
      api::ArgumentValue& argument = call.arguments.emplace_back();
      argument.name = given.name;
      argument.raw = given.raw;
      argument.data = given.data;
      argument.nested = given.nested;
      argument.captured = !given.data.empty();
      argument.truncated = given.truncated;
    }
    call.returned = result.has_value();
    call.result = result.value_or(0);
    call.failed = static_cast<std::int32_t>(call.result) < 0;
    // Calls of one second come after one another.
    const auto began = at_second(caller.seconds) + std::chrono::microseconds(2 * user_calls_++);
    const auto ended = began + std::chrono::microseconds(result ? 1 : 0);
    const UserCall user_call{.api = call,
                             .as = signature,
                             .began = began,
                             .ended = ended,
                             .process = caller.process,
                             .thread_id = caller.process ? caller.process->pid : 0,
                             .win32_process_id = caller.win32_process_id,
                             .address = caller.address,
                             .caller = caller.return_address,
                             .id = caller.call == 1 ? next_call_++ : caller.call};
    if (!result && is_seen)
      family_->on_user_call_entered(user_call, *this);
    else
      family_->on_user_call(user_call, *this);
  }

  static int used_before(const std::vector<Captured>& all, const Captured& value) {
    int count = 0;
    for (const Captured& other : all) {
      if (&other == &value) break;
      count += other.name == value.name;
    }
    return count;
  }

  std::uint64_t next_call_ = 1'000'000;
  int user_calls_ = 0;
  std::unique_ptr<Family> family_;
  std::vector<hook::HookSpec> hooks_;
  std::vector<WantedApi> apis_;
  std::vector<std::byte> bytes_;
};

inline std::string text_of(const Event& event, std::string_view name) {
  const Value* value = event.find(name);
  if (value == nullptr) return "(none)";
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  if (const auto* number = std::get_if<std::uint64_t>(value)) return std::to_string(*number);
  if (const auto* flag = std::get_if<bool>(value)) return *flag ? "true" : "false";
  std::string joined;
  if (const auto* list = std::get_if<std::vector<std::string>>(value))
    for (const std::string& one : *list) joined += (joined.empty() ? "" : ",") + one;
  return joined;
}

}  // namespace glasshook::behaviour::testing
