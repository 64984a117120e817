#include "output/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <unordered_map>

#include "base/text.h"

namespace glasshook::output {
namespace {

using behaviour::Event;
using behaviour::Field;
using behaviour::Process;
using behaviour::Value;

struct ToText {
  std::string operator()(std::uint64_t v) const { return std::to_string(v); }
  std::string operator()(std::int64_t v) const { return std::to_string(v); }
  std::string operator()(bool v) const { return v ? "yes" : "no"; }
  std::string operator()(const std::string& v) const { return to_printable(v); }
  std::string operator()(const std::vector<std::string>& v) const {
    std::string text;
    for (const std::string& one : v) {
      if (!text.empty()) text += ' ';
      text += to_printable(one);
    }
    return text;
  }
};

std::uint64_t field_number(const Event& event, std::string_view name) {
  const Value* value = event.find(name);
  const auto* number = value != nullptr ? std::get_if<std::uint64_t>(value) : nullptr;
  return number != nullptr ? *number : 0;
}

/// "a b" without a stray blank when either is empty.
std::string spaced(std::string a, const std::string& b) {
  if (!a.empty() && !b.empty()) a += ' ';
  return a + b;
}

std::string labelled(const Event& event, std::string_view label, std::string_view name) {
  const std::string text = field_text(event, name);
  return text.empty() ? text : fmt::format("{}{}", label, text);
}

using Fill = void (*)(const Event&, Description&);

void path(const Event& e, Description& d) {
  d.target = field_text(e, "file.path");
  if (d.target.empty()) d.target = labelled(e, "file behind handle ", "glasshook.handle.value");
}

void two_paths(const Event& e, Description& d) {
  d.target = fmt::format("{} -> {}", field_text(e, "file.path"), field_text(e, "file.target_path"));
}

void file_totals(const Event& e, Description& d) {
  path(e, d);
  const std::uint64_t operations = field_number(e, "glasshook.operations");
  d.result = fmt::format("{} bytes", grouped(field_number(e, "glasshook.bytes")));
  if (operations > 1) d.result += fmt::format(" in {} calls", grouped(operations));
}

void opened(const Event& e, Description& d) {
  path(e, d);
  d.result = field_text(e, "glasshook.open.flags");
  if (d.result.empty()) d.result = field_text(e, "glasshook.open.access");
}

void listed(const Event& e, Description& d) {
  path(e, d);
  d.result = field_text(e, "glasshook.directory.pattern");
}

void registry(const Event& e, Description& d) { d.target = field_text(e, "registry.path"); }

void registry_renamed(const Event& e, Description& d) {
  d.target = fmt::format("{} -> {}", field_text(e, "registry.path"),
                         field_text(e, "glasshook.registry.target_path"));
}

void registry_data(const Event& e, Description& d) {
  registry(e, d);
  const std::string strings = field_text(e, "registry.data.strings");
  d.result = spaced(field_text(e, "registry.data.type"),
                    strings.empty() ? field_text(e, "registry.data.bytes") : strings);
  if (e.find("threat.technique.id") == nullptr) return;
  d.words = "set autostart value";
  d.weight = behaviour::Weight::notable;
}

void truncated(const Event& e, Description& d) {
  path(e, d);
  d.result = fmt::format("to {} bytes", grouped(field_number(e, "file.size")));
}

void mode(const Event& e, Description& d) {
  path(e, d);
  d.result = labelled(e, "to ", "file.mode");
}

void owner(const Event& e, Description& d) {
  path(e, d);
  d.result = fmt::format("to {}:{}", field_text(e, "file.uid"), field_text(e, "file.gid"));
}

void attribute(const Event& e, Description& d) {
  path(e, d);
  d.result = spaced(field_text(e, "glasshook.attribute.operation"),
                    field_text(e, "glasshook.attribute.name"));
}

void attributes(const Event& e, Description& d) {
  path(e, d);
  d.result = field_text(e, "file.attributes");
  if (d.result.empty()) attribute(e, d);
}

void times(const Event& e, Description& d) {
  path(e, d);
  d.result = spaced(labelled(e, "created ", "file.created"), labelled(e, "written ", "file.mtime"));
}

void mounted(const Event& e, Description& d) {
  d.target =
      fmt::format("{} on {}", field_text(e, "glasshook.mount.source"), field_text(e, "file.path"));
  d.result = labelled(e, "type ", "glasshook.mount.type");
}

void forked(const Event& e, Description& d) {
  if (e.process && e.process->parent)
    d.target = fmt::format("from {}[{}]", process_name(*e.process->parent), e.process->parent->pid);
}

void executed(const Event& e, Description& d) {
  if (!e.process) return;
  d.target = to_printable(e.process->executable);
  d.result = command_line(*e.process);
}

void exited(const Event& e, Description& d) {
  const std::string signal = field_text(e, "glasshook.signal.name");
  d.result = signal.empty() ? fmt::format("exit code {}", field_text(e, "process.exit_code"))
                            : fmt::format("killed by {}", signal);
}

/// "x.exe[412]"; "x.exe[Windows id 288]" while the id that Windows programs know is the only one.
void other_process(const Event& e, Description& d) {
  std::string pid = field_text(e, "glasshook.target.pid");
  if (pid.empty()) pid = labelled(e, "Windows id ", "glasshook.target.windows_process_id");
  d.target = pid.empty() ? labelled(e, "process behind handle ", "glasshook.handle.value")
                         : fmt::format("{}[{}]", field_text(e, "glasshook.target.name"), pid);
}

void signalled(const Event& e, Description& d) {
  other_process(e, d);
  d.result = field_text(e, "glasshook.signal.name");
}

void traced(const Event& e, Description& d) {
  other_process(e, d);
  d.result = field_text(e, "glasshook.method");
}

void memory_written(const Event& e, Description& d) {
  other_process(e, d);
  d.result = fmt::format("{} bytes at {} by {}", grouped(field_number(e, "glasshook.bytes")),
                         field_text(e, "glasshook.address"), field_text(e, "glasshook.method"));
}

void created_process(const Event& e, Description& d) {
  other_process(e, d);
  const std::string flags = field_text(e, "glasshook.create.flags");
  d.result = field_text(e, "glasshook.target.command_line");
  if (!flags.empty()) d.result = spaced(d.result, fmt::format("({})", flags));
}

void ended_process(const Event& e, Description& d) {
  if (e.find("glasshook.target.windows_process_id") || e.find("glasshook.handle.value"))
    other_process(e, d);
  else
    d.target = "itself";
  d.result = labelled(e, "exit status ", "glasshook.exit_status");
}

void opened_process(const Event& e, Description& d) {
  other_process(e, d);
  d.result = field_text(e, "glasshook.access");
}

/// Memory of another process.
void other_memory(const Event& e, Description& d) {
  other_process(e, d);
  const std::uint64_t bytes = field_number(e, "glasshook.bytes");
  d.result = labelled(e, "at ", "glasshook.address");
  if (bytes != 0) d.result = spaced(fmt::format("{} bytes", grouped(bytes)), d.result);
  d.result = spaced(d.result, field_text(e, "glasshook.protection"));
}

/// A thread of another process, and where it runs.
void other_thread(const Event& e, Description& d) {
  other_process(e, d);
  d.result = labelled(e, "to run from ", "glasshook.address");
}

void duplicated(const Event& e, Description& d) {
  other_process(e, d);
  const bool into = field_text(e, "glasshook.duplicate.direction") == "into";
  d.target = fmt::format("{} {}", into ? "into" : "out of", d.target);
  d.result =
      spaced(field_text(e, "glasshook.duplicate.type"), field_text(e, "glasshook.duplicate.name"));
}

void injected(const Event& e, Description& d) {
  other_memory(e, d);
  d.result = fmt::format("by {}: {}", field_text(e, "glasshook.injection.method"), d.result);
  d.result += labelled(e, ", run from ", "glasshook.injection.start");
  d.result += labelled(e, ", which loads ", "glasshook.injection.library");
}

void credentials(const Event& e, Description& d) {
  d.target = fmt::format("uid {} -> {}", field_text(e, "glasshook.credentials.old.euid"),
                         field_text(e, "glasshook.credentials.new.euid"));
  d.result = labelled(e, "gained ", "glasshook.credentials.gained_capabilities");
}

void destination(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "network.transport"), endpoint(e, "destination"));
  d.result = field_text(e, "glasshook.error");
}

void connected(const Event& e, Description& d) {
  destination(e, d);
  if (field_text(e, "event.outcome") == "failure") d.words = "cannot connect to";
}

void source(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "network.transport"), endpoint(e, "source"));
}

void local(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "network.transport"), endpoint(e, "server"));
}

void closed(const Event& e, Description& d) {
  const bool ingress = field_text(e, "network.direction") == "ingress";
  ingress ? source(e, d) : destination(e, d);
  d.result = fmt::format("sent {}, received {} bytes",
                         grouped(field_number(e, ingress ? "destination.bytes" : "source.bytes")),
                         grouped(field_number(e, ingress ? "source.bytes" : "destination.bytes")));
}

void dns(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "dns.question.name"), field_text(e, "dns.question.type"));
  const std::string server = endpoint(e, "destination");
  if (!server.empty()) d.result = fmt::format("at {}", server);
}

void name_lookup(const Event& e, Description& d) {
  d.target = field_text(e, "dns.question.name");
  d.result = field_text(e, "glasshook.error");
}

void http(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "http.request.method"), field_text(e, "url.full"));
  d.result = field_text(e, "glasshook.error");
}

void service(const Event& e, Description& d) {
  d.target = field_text(e, "service.name");
  d.result = field_text(e, "glasshook.service.command_line");
}

void named_object(const Event& e, Description& d) {
  d.target = spaced(field_text(e, "glasshook.object.type"), field_text(e, "glasshook.object.name"));
}

void by_method(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.method");
  d.result = spaced(field_text(e, "glasshook.clipboard.format"),
                    field_text(e, "glasshook.crypto.algorithm"));
  if (e.find("glasshook.operations"))
    d.result =
        spaced(d.result, fmt::format("{} times", grouped(field_number(e, "glasshook.operations"))));
}

void time_used(const Event& e, Description& d) {
  d.target = fmt::format("slept {} times, {} ms", grouped(field_number(e, "glasshook.time.sleeps")),
                         grouped(field_number(e, "glasshook.time.slept_ms")));
  d.result =
      fmt::format("looked at the time {} times", grouped(field_number(e, "glasshook.time.checks")));
}

void module(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.module.name");
  d.result = labelled(e, "from ", "file.path");
}

void bpf(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.bpf.name");
  d.result = labelled(e, "type ", "glasshook.bpf.type");
}

void table(const Event& e, Description& d) {
  d.target = fmt::format("{}[{}]", field_text(e, "glasshook.table.name"),
                         field_text(e, "glasshook.table.index"));
  d.result = spaced(labelled(e, "from ", "glasshook.table.before"),
                    labelled(e, "to ", "glasshook.table.after"));
}

void kernel_entry(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.entry.register");
  d.result = spaced(labelled(e, "from ", "glasshook.entry.before"),
                    labelled(e, "to ", "glasshook.entry.after"));
}

void kernel_code(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.code.functions");
  d.result = spaced(labelled(e, "at ", "glasshook.address"),
                    labelled(e, "leads to ", "glasshook.code.target"));
}

void hidden(const Event& e, Description& d) {
  d.target = labelled(e, "pid ", "glasshook.hidden.pid");
  d.result = labelled(e, "missing from ", "glasshook.hidden.missing_from");
}

void library(const Event& e, Description& d) { d.target = field_text(e, "dll.path"); }

void unbacked(const Event& e, Description& d) {
  d.target = labelled(e, "at ", "glasshook.address");
}

void modified(const Event& e, Description& d) {
  d.target = field_text(e, "dll.path");
  d.result =
      spaced(labelled(e, "at ", "glasshook.address"), field_text(e, "glasshook.code.functions"));
}

void import(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.import.function");
  d.result = spaced(labelled(e, "of ", "glasshook.import.importer"),
                    labelled(e, "leads to ", "glasshook.import.target"));
}

void bypassed(const Event& e, Description& d) {
  d.target = field_text(e, "glasshook.syscall.name");
  if (d.target.empty()) d.target = field_text(e, "glasshook.bypass.function");
  d.result = spaced(labelled(e, "from ", "glasshook.bypass.origin"),
                    field_text(e, "glasshook.bypass.module"));
}

void api(const Event& e, Description& d) {
  constexpr std::string_view kArguments = "api.args.";
  const std::string module = field_text(e, "api.module");
  d.target = fmt::format("{}{}{}(", module, module.empty() ? "" : "!", field_text(e, "api.name"));
  bool first = true;
  for (const Field& field : e.fields) {
    if (!field.name.starts_with(kArguments)) continue;
    d.target += fmt::format("{}{}={}", first ? "" : ", ",
                            to_printable(field.name.substr(kArguments.size())),
                            std::visit(ToText{}, field.value));
    first = false;
  }
  d.target += ')';
  d.result = spaced(labelled(e, "= ", "api.result"), field_text(e, "api.error"));
}

const std::unordered_map<std::string_view, Fill>& fills() {
  static const std::unordered_map<std::string_view, Fill> map = {
      {"process_started", forked},
      {"process_executed", executed},
      {"process_executed_from_memory", path},
      {"process_exited", exited},
      {"process_traced", traced},
      {"process_memory_written", memory_written},
      {"process_created", created_process},
      {"process_terminated", ended_process},
      {"process_opened", opened_process},
      {"process_memory_allocated", other_memory},
      {"process_memory_protected", other_memory},
      {"process_section_mapped", other_memory},
      {"process_section_unmapped", other_memory},
      {"process_thread_created", other_thread},
      {"process_apc_queued", other_thread},
      {"process_context_set", other_thread},
      {"process_suspended", traced},
      {"process_resumed", traced},
      {"process_handle_duplicated", duplicated},
      {"process_injected", injected},
      {"signal_sent", signalled},
      {"credentials_changed", credentials},
      {"file_opened", opened},
      {"file_created", mode},
      {"file_read", file_totals},
      {"file_written", file_totals},
      {"file_renamed", two_paths},
      {"file_linked", two_paths},
      {"file_symlinked", two_paths},
      {"file_truncated", truncated},
      {"file_permissions_changed", mode},
      {"file_owner_changed", owner},
      {"file_attribute_changed", attributes},
      {"file_times_changed", times},
      {"file_copied", two_paths},
      {"directory_listed", listed},
      {"registry_key_opened", registry},
      {"registry_key_created", registry},
      {"registry_key_deleted", registry},
      {"registry_key_renamed", registry_renamed},
      {"registry_value_queried", registry_data},
      {"registry_value_set", registry_data},
      {"registry_value_deleted", registry},
      {"filesystem_mounted", mounted},
      {"network_connected", connected},
      {"network_listening", local},
      {"network_accepted", source},
      {"network_closed", closed},
      {"dns_queried", dns},
      {"name_resolved", name_lookup},
      {"http_requested", http},
      {"service_created", service},
      {"service_started", service},
      {"service_stopped", service},
      {"service_deleted", service},
      {"object_created", named_object},
      {"object_opened", named_object},
      {"keyboard_watched", by_method},
      {"clipboard_read", by_method},
      {"clipboard_written", by_method},
      {"crypto_key_made", by_method},
      {"time_used", time_used},
      {"kernel_module_loaded", module},
      {"bpf_program_loaded", bpf},
      {"kernel_table_changed", table},
      {"kernel_entry_changed", kernel_entry},
      {"kernel_code_modified", kernel_code},
      {"kernel_module_hidden", module},
      {"process_hidden", hidden},
      {"library_loaded", library},
      {"code_executed_unbacked", unbacked},
      {"code_modified", modified},
      {"import_replaced", import},
      {"api_bypassed", bypassed},
      {"api_called", api},
  };
  return map;
}

bool needs_quotes(std::string_view argument) {
  return argument.empty() || argument.find_first_of(" \t\n\"'\\$`") != std::string_view::npos;
}

/// The arguments, from the program's name on.
std::span<const std::string> own_words(const Process& process) {
  const std::span<const std::string> words = process.arguments;
  const bool in_wine = process.executable.ends_with("/wine64") && words.size() > 1 &&
                       words.front().ends_with("wine64");
  return in_wine ? words.subspan(1) : words;
}

bool starts_code_point(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

}  // namespace

Description describe(const Event& event) {
  Description d;
  const behaviour::ActionInfo* info = behaviour::find_action(event.action);
  d.words = info != nullptr ? info->words : event.action;
  if (info != nullptr) d.weight = info->weight;
  const auto fill = fills().find(event.action);
  fill != fills().end() ? fill->second(event, d) : path(event, d);
  return d;
}

std::string field_text(const Event& event, std::string_view name) {
  const Value* value = event.find(name);
  return value != nullptr ? std::visit(ToText{}, *value) : std::string{};
}

std::string process_name(const Process& process) {
  const auto words = own_words(process);
  std::string_view name;
  if (words.size() < process.arguments.size()) {
    name = words.front();
    name.remove_prefix(name.find_last_of("\\/") + 1);
  }
  return to_printable(name.empty() ? process.name : name);
}

std::string command_line(const Process& process) {
  std::string line;
  for (const std::string& argument : own_words(process)) {
    if (!line.empty()) line += ' ';
    const std::string shown = to_printable(argument);
    if (!needs_quotes(argument)) {
      line += shown;
      continue;
    }
    line += '\'';
    for (const char c : shown) c == '\'' ? line += "'\\''" : line += c;
    line += '\'';
  }
  return line;
}

std::string endpoint(const Event& event, std::string_view prefix) {
  const auto part = [&](std::string_view name) {
    return field_text(event, fmt::format("{}.{}", prefix, name));
  };
  const std::string ip = part("ip");
  if (ip.empty()) return part("address");
  const std::string port = part("port");
  if (port.empty()) return ip;
  return ip.contains(':') ? fmt::format("[{}]:{}", ip, port) : fmt::format("{}:{}", ip, port);
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

std::size_t text_width(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), starts_code_point));
}

std::string cut_to(std::string text, std::size_t columns) {
  if (columns == 0 || text.size() <= columns || text_width(text) <= columns) return text;
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (starts_code_point(text[i]) && ++seen == columns) {
      text.resize(i);
      break;
    }
  return text + "…";
}

}  // namespace glasshook::output
