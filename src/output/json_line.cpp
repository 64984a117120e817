#include "output/json_line.h"

#include <algorithm>
#include <unordered_map>

#include "behaviour/actions.h"
#include "behaviour/time_text.h"
#include "output/json_writer.h"

namespace glasshook::output {
namespace {

using behaviour::Event;
using behaviour::Field;
using behaviour::Process;
using behaviour::Value;

/// The ECS release whose names are used.
constexpr std::string_view kEcsVersion = "8.17.0";
/// Of the text of processes that is kept: some thousand processes.
constexpr std::size_t kCachedBytes = 8u << 20;
/// Dots in a field name that are followed.
constexpr int kMaxNesting = 8;

std::string joined(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    if (!line.empty()) line += ' ';
    line += argument;
  }
  return line;
}

/// Members of an object under construction, and the exact bytes of those that are not UTF-8.
class MemberBuilder {
 public:
  explicit MemberBuilder(std::string raw_prefix) : raw_prefix_(std::move(raw_prefix)) {
    writer_.StartObject();
    raw_writer_.StartObject();
  }

  JsonWriter& writer() { return writer_; }

  void bytes(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    writer_.key(key);
    if (!writer_.bytes(value)) raw(key, value);
  }

  void list(std::string_view key, std::span<const std::string> values) {
    writer_.key(key);
    if (writer_.bytes(values)) return;
    raw_writer_.key(raw_prefix_ + std::string{key});
    raw_writer_.base64(values);
  }

  void raw(std::string_view key, std::string_view value) {
    raw_writer_.key(raw_prefix_ + std::string{key});
    raw_writer_.base64(value);
  }

  [[nodiscard]] std::string members() const { return inside(buffer_); }
  [[nodiscard]] std::string raw_members() const { return inside(raw_buffer_); }

 private:
  static std::string inside(const rapidjson::StringBuffer& buffer) {
    return std::string{std::string_view{buffer.GetString(), buffer.GetSize()}.substr(1)};
  }

  std::string raw_prefix_;
  rapidjson::StringBuffer buffer_, raw_buffer_;
  JsonWriter writer_{buffer_}, raw_writer_{raw_buffer_};
};

void add_identity(MemberBuilder& out, const Process& p) {
  out.writer().key("pid");
  out.writer().Uint(p.pid);
  out.bytes("entity_id", p.entity_id);
  out.bytes("name", p.name);
  out.bytes("executable", p.executable);
  if (p.arguments.empty()) return;
  // The exact bytes are kept once, with the arguments.
  out.writer().key("command_line");
  out.writer().bytes(std::string_view{joined(p.arguments)});
  out.list("args", p.arguments);
}

/// A process, rendered: members of "process" and of "glasshook.raw", and whole objects beside it.
struct RenderedProcess {
  std::shared_ptr<const Process> process;  ///< kept, so that its address stays its own
  std::string members;
  std::string raw_members;
  std::string user_id;
  std::string beside;  ///< `"container":{...}`

  [[nodiscard]] std::size_t size() const {
    return members.size() + raw_members.size() + user_id.size() + beside.size();
  }
};

RenderedProcess render(std::shared_ptr<const Process> process) {
  const Process& p = *process;
  MemberBuilder out{"process."};
  add_identity(out, p);
  if (!p.arguments.empty()) {
    out.writer().key("args_count");
    out.writer().Uint64(p.arguments.size());
  }
  out.bytes("working_directory", p.working_directory);
  if (p.namespace_pid != 0) {
    out.writer().key("vpid");
    out.writer().Uint(p.namespace_pid);
  }
  MemberBuilder parent{"process.parent."};
  if (p.parent) {
    add_identity(parent, *p.parent);
    out.writer().key("parent");
    out.writer().StartObject();
    out.writer().members(parent.members());
    out.writer().EndObject();
  }

  MemberBuilder beside{""};
  if (!p.container_id.empty()) {
    beside.writer().key("container");
    beside.writer().StartObject();
    beside.writer().key("id");
    beside.writer().bytes(std::string_view{p.container_id});
    beside.writer().EndObject();
  }
  RenderedProcess result;
  result.members = out.members();
  result.raw_members = out.raw_members();
  if (const std::string more = p.parent ? parent.raw_members() : std::string{}; !more.empty())
    result.raw_members += (result.raw_members.empty() ? "" : ",") + more;
  result.user_id = fmt::format("\"id\":\"{}\"", p.user_id);
  result.beside = beside.members();
  result.process = std::move(process);
  return result;
}

}  // namespace

class JsonLines::Renderer {
 public:
  explicit Renderer(const JsonOptions& options) {
    MemberBuilder host{""};
    host.bytes("id", options.host_id);
    host.bytes("name", options.host_name);
    fixed_ = fmt::format(R"("ecs":{{"version":"{}"}})", kEcsVersion);
    if (const std::string members = host.members(); !members.empty())
      fixed_ += fmt::format(R"(,"host":{{{}}})", members);
    glasshook_ = fmt::format(R"("schema":"{}")", kSchemaVersion);
  }

  std::string_view event(const Event& e) {
    begin(e.time);
    fields_ = e.fields;
    done_.assign(fields_.size(), false);
    raw_.clear();

    write_event_object(e);
    const RenderedProcess* process = e.process ? &rendered(e.process) : nullptr;
    if (process != nullptr) write_process(*process, e.thread_id);
    leave_glasshook_out();
    write_members("", 0);
    write_glasshook(process);
    if (e.action == "process_exited") forget(e.process.get());
    return end();
  }

  std::string_view summary(const Summary& s, std::chrono::system_clock::time_point time) {
    begin(time);
    writer_.key("event");
    writer_.StartObject();
    writer_.members(R"("kind":"metric","action":"session_summary","category":["host"])"
                    R"(,"type":["info"])");
    number("duration", static_cast<std::uint64_t>(std::max<std::int64_t>(s.duration.count(), 0)));
    writer_.EndObject();
    writer_.key("glasshook");
    writer_.StartObject();
    writer_.members(glasshook_);
    writer_.key("summary");
    writer_.StartObject();
    number("events", s.events);
    write_counts(s);
    writer_.EndObject();
    writer_.EndObject();
    return end();
  }

 private:
  void begin(std::chrono::system_clock::time_point time) {
    buffer_.Clear();
    writer_.Reset(buffer_);
    writer_.StartObject();
    char text[behaviour::kIsoTimeLength];
    behaviour::write_iso_time(time, text);
    writer_.key("@timestamp");
    writer_.text({text, sizeof text});
    writer_.members(fixed_);
  }

  std::string_view end() {
    writer_.EndObject();
    buffer_.Put('\n');
    return {buffer_.GetString(), buffer_.GetSize()};
  }

  void number(std::string_view key, std::uint64_t value) {
    writer_.key(key);
    writer_.Uint64(value);
  }

  void write_event_object(const Event& e) {
    writer_.key("event");
    writer_.StartObject();
    writer_.members(R"("kind":"event")");
    writer_.key("action");
    writer_.text(e.action);
    write_one_of_array("category", e.category);
    const behaviour::ActionInfo* info = behaviour::find_action(e.action);
    write_one_of_array("type", info != nullptr ? info->type : "info");
    number("sequence", e.sequence);
    write_members("event.", 0);
    writer_.EndObject();
  }

  void write_one_of_array(std::string_view key, std::string_view value) {
    writer_.key(key);
    writer_.StartArray();
    writer_.text(value);
    writer_.EndArray();
  }

  void write_process(const RenderedProcess& process, std::uint32_t thread_id) {
    writer_.key("process");
    writer_.StartObject();
    writer_.members(process.members);
    if (thread_id != 0) {
      writer_.key("thread");
      writer_.StartObject();
      number("id", thread_id);
      write_members("process.thread.", 0);
      writer_.EndObject();
    }
    write_members("process.", 0);
    writer_.EndObject();
    writer_.key("user");
    writer_.StartObject();
    writer_.members(process.user_id);
    write_members("user.", 0);
    writer_.EndObject();
    writer_.members(process.beside);
  }

  void leave_glasshook_out() {
    glasshook_fields_.clear();
    for (std::size_t i = 0; i < fields_.size(); ++i)
      if (!done_[i] && fields_[i].name.starts_with("glasshook.")) {
        done_[i] = true;
        glasshook_fields_.push_back(i);
      }
  }

  void write_glasshook(const RenderedProcess* process) {
    writer_.key("glasshook");
    writer_.StartObject();
    writer_.members(glasshook_);
    if (process != nullptr && process->process->kernel_thread)
      writer_.members(R"("kernel_thread":true)");
    for (const std::size_t i : glasshook_fields_) done_[i] = false;
    write_members("glasshook.", 0);
    if (!raw_.empty() || (process != nullptr && !process->raw_members.empty())) {
      writer_.key("raw");
      writer_.StartObject();
      if (process != nullptr) writer_.members(process->raw_members);
      for (const Field* field : raw_) write_raw(*field);
      writer_.EndObject();
    }
    writer_.EndObject();
  }

  /// The fields whose names start with `prefix` and are not written yet, as members of the open
  /// object; dots make objects.
  void write_members(std::string_view prefix, int depth) {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const Field& field = fields_[i];
      if (done_[i] || !field.name.starts_with(prefix)) continue;
      const std::string_view rest = field.name.substr(prefix.size());
      const std::size_t dot = depth < kMaxNesting ? rest.find('.') : std::string_view::npos;
      if (dot == std::string_view::npos) {
        for (std::size_t j = i; j < fields_.size(); ++j)  // the first of a name counts
          if (fields_[j].name == field.name) done_[j] = true;
        writer_.key(rest);
        write_value(field);
      } else {
        writer_.key(rest.substr(0, dot));
        writer_.StartObject();
        write_members(field.name.substr(0, prefix.size() + dot + 1), depth + 1);
        writer_.EndObject();
      }
    }
  }

  void write_value(const Field& field) {
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      if (!writer_.bytes(std::string_view{*text})) raw_.push_back(&field);
    } else if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
      writer_.Uint64(*number);
    } else if (const auto* integer = std::get_if<std::int64_t>(&field.value)) {
      writer_.Int64(*integer);
    } else if (const auto* flag = std::get_if<bool>(&field.value)) {
      writer_.Bool(*flag);
    } else if (const auto* list = std::get_if<std::vector<std::string>>(&field.value)) {
      if (!writer_.bytes(std::span{*list})) raw_.push_back(&field);
    }
  }

  void write_raw(const Field& field) {
    writer_.key(field.name);
    if (const auto* text = std::get_if<std::string>(&field.value))
      writer_.base64(std::string_view{*text});
    else if (const auto* list = std::get_if<std::vector<std::string>>(&field.value))
      writer_.base64(std::span{*list});
  }

  [[gnu::cold]] void write_counts(const Summary& s) {
    writer_.key("actions");
    writer_.StartObject();
    for (const auto& [action, count] : s.actions) number(action, count);
    writer_.EndObject();
    writer_.key("losses");
    writer_.StartObject();
    number("dropped", s.losses.dropped);
    number("rate_limited", s.losses.rate_limited);
    number("unreturned", s.losses.unreturned);
    number("unresolved", s.losses.unresolved);
    number("truncated", s.losses.truncated);
    number("budget", s.losses.budget);
    number("page_timeouts", s.losses.page_timeouts);
    number("malformed", s.losses.malformed);
    number("late_commits", s.losses.late_commits);
    number("overwritten", s.losses.overwritten);
    number("lifted", s.losses.lifted);
    writer_.EndObject();
    writer_.key("blocks");
    writer_.StartObject();
    number("shown", s.blocks.shown);
    number("hidden", s.blocks.hidden);
    writer_.EndObject();
    writer_.key("hooks");
    writer_.StartArray();
    for (const HookCounts& hook : s.hooks) write_hook(hook);
    writer_.EndArray();
    writer_.key("missing_hooks");
    writer_.bytes(std::span{s.missing_hooks});
  }

  void write_hook(const HookCounts& hook) {
    writer_.StartObject();
    writer_.key("name");
    writer_.bytes(std::string_view{hook.name});
    number("hits", hook.hits);
    number("sent", hook.sent);
    number("filtered", hook.filtered);
    number("rate_limited", hook.rate_limited);
    number("dropped", hook.dropped);
    number("returned", hook.returned);
    number("unreturned", hook.unreturned);
    writer_.EndObject();
  }

  const RenderedProcess& rendered(const std::shared_ptr<const Process>& process) {
    const auto found = processes_.find(process.get());
    return found != processes_.end() ? found->second : keep(process);
  }

  [[gnu::noinline]] const RenderedProcess& keep(const std::shared_ptr<const Process>& process) {
    RenderedProcess fresh = render(process);
    if (cached_bytes_ + fresh.size() > kCachedBytes) {
      processes_.clear();
      cached_bytes_ = 0;
    }
    cached_bytes_ += fresh.size();
    return processes_.emplace(process.get(), std::move(fresh)).first->second;
  }

  /// Of a process that has ended, nothing more is told: room for those that live.
  [[gnu::noinline]] void forget(const Process* process) {
    const auto found = processes_.find(process);
    if (found == processes_.end()) return;
    cached_bytes_ -= found->second.size();
    processes_.erase(found);
  }

  std::string fixed_;
  std::string glasshook_;
  rapidjson::StringBuffer buffer_;
  JsonWriter writer_{buffer_};
  std::unordered_map<const Process*, RenderedProcess> processes_;
  std::size_t cached_bytes_ = 0;  ///< of those

  // Of the event being rendered.
  std::span<const Field> fields_;
  std::vector<bool> done_;
  std::vector<std::size_t> glasshook_fields_;
  std::vector<const Field*> raw_;
};

JsonLines::JsonLines(const JsonOptions& options) : renderer_(std::make_unique<Renderer>(options)) {}
JsonLines::~JsonLines() = default;

std::string_view JsonLines::event(const Event& event) { return renderer_->event(event); }

std::string_view JsonLines::summary(const Summary& summary,
                                    std::chrono::system_clock::time_point time) {
  return renderer_->summary(summary, time);
}

}  // namespace glasshook::output
