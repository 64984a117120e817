#include "behaviour/support.h"

#include <fmt/format.h>
#include <seccomp.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

namespace glasshook::behaviour {
namespace {

/// A new field; made empty, because GCC 12 warns of what it thinks uninitialized otherwise.
Value& add_field(Event& event, std::string_view name) {
  Field& field = event.fields.emplace_back();
  field.name = name;
  return field.value;
}

}  // namespace

hook::Capture word(std::string name, std::string expression) {
  return {.name = std::move(name),
          .kind = hook::CaptureKind::word,
          .expression = std::move(expression)};
}

hook::Capture string(std::string name, std::string expression, std::uint32_t max) {
  return {.name = std::move(name),
          .kind = hook::CaptureKind::string,
          .expression = std::move(expression),
          .length = {},
          .max = max};
}

hook::Capture bytes(std::string name, std::string expression, std::string length,
                    std::uint32_t max) {
  return {.name = std::move(name),
          .kind = hook::CaptureKind::bytes,
          .expression = std::move(expression),
          .length = std::move(length),
          .max = max};
}

hook::Capture path(std::string name, std::string expression) {
  return {.name = std::move(name),
          .kind = hook::CaptureKind::path,
          .expression = std::move(expression)};
}

hook::Capture dentry(std::string name, std::string expression) {
  return {.name = std::move(name),
          .kind = hook::CaptureKind::dentry,
          .expression = std::move(expression)};
}

hook::HookSpec at_entry(std::vector<std::string> functions, std::vector<std::string> when,
                        std::vector<hook::Capture> captures) {
  hook::HookSpec spec;
  spec.functions = std::move(functions);
  spec.entry.when = std::move(when);
  spec.entry.captures = std::move(captures);
  spec.entry.enabled = true;
  return spec;
}

hook::HookSpec at_exit(std::vector<std::string> functions, std::vector<std::string> before,
                       std::vector<std::string> after, std::vector<hook::Capture> captures) {
  hook::HookSpec spec;
  spec.functions = std::move(functions);
  spec.entry.when = std::move(before);
  spec.exit.when = std::move(after);
  spec.exit.captures = std::move(captures);
  spec.exit.enabled = true;
  return spec;
}

hook::HookSpec at_instruction(hypervisor::PrivilegedInstruction instruction, std::string name,
                              std::vector<std::string> when, std::vector<hook::Capture> captures) {
  hook::HookSpec spec = at_entry({std::move(name)}, std::move(when), std::move(captures));
  spec.instruction = instruction;
  return spec;
}

hook::HookSpec optional(hook::HookSpec spec) {
  spec.optional = true;
  return spec;
}

hook::HookSpec anonymous(hook::HookSpec spec) {
  spec.anonymous = true;
  return spec;
}

hook::HookSpec choke_point(hook::HookSpec spec) {
  spec.choke_point = true;
  return spec;
}

ProcessKey key_of(const Call& call) {
  return {.pid = static_cast<std::uint32_t>(call.context(hook::kContextPid) >> 32),
          .start_time = call.context(hook::kContextStart)};
}

ProcessKey key_of(const Process& process) {
  return {.pid = process.pid, .start_time = process.start_time};
}

void add(Event& event, std::string_view name, std::string text) {
  add_field(event, name).emplace<std::string>(std::move(text));
}

void add(Event& event, std::string_view name, std::vector<std::string> list) {
  add_field(event, name).emplace<std::vector<std::string>>(std::move(list));
}

void add_number(Event& event, std::string_view name, std::uint64_t number) {
  add_field(event, name).emplace<std::uint64_t>(number);
}

void add_flag(Event& event, std::string_view name, bool value) {
  if (value) add_field(event, name).emplace<bool>(true);
}

void add_known(Event& event, std::string_view name, std::string text) {
  if (!text.empty()) add(event, name, std::move(text));
}

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

std::string octal_mode(std::uint64_t mode) { return fmt::format("{:04o}", mode & 07777); }

std::string flag_names(std::uint64_t value, std::span<const FlagName> names) {
  std::string text;
  const auto append = [&](std::string_view name) {
    if (!text.empty()) text += '|';
    text += name;
  };
  for (const FlagName& flag : names) {
    if (flag.value == 0 || (value & flag.value) != flag.value) continue;
    append(flag.name);
    value &= ~flag.value;
  }
  if (value != 0) append(hex(value));
  return text;
}

std::string signal_name(std::uint64_t number) {
  constexpr int kFirstRealTime = 34, kLastRealTime = 64;  // glibc keeps 32 and 33 to itself
  if (number >= kFirstRealTime && number <= kLastRealTime)
    return number == kFirstRealTime ? "SIGRTMIN"
                                    : fmt::format("SIGRTMIN+{}", number - kFirstRealTime);
  const char* name = number < kFirstRealTime ? ::sigabbrev_np(static_cast<int>(number)) : nullptr;
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

std::string error_name(std::int64_t negative_errno) {
  constexpr std::int64_t kMaxErrno = 4095;
  const bool known = negative_errno < 0 && negative_errno >= -kMaxErrno;
  const char* name = known ? ::strerrorname_np(static_cast<int>(-negative_errno)) : nullptr;
  return name != nullptr ? name : fmt::format("error {}", -negative_errno);
}

std::string syscall_name(std::uint64_t number) {
  constexpr std::uint64_t kMaxNumber = 4096;
  if (number > kMaxNumber) return {};
  char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, static_cast<int>(number));
  std::string text = name != nullptr ? name : "";
  std::free(name);
  return text;
}

void add_target(Event& event, Context& context, std::uint32_t pid, std::string_view name) {
  const std::shared_ptr<const Process> target = context.process_by_pid(pid);
  add_number(event, "glasshook.target.pid", pid);
  add_known(event, "glasshook.target.name",
            std::string{name.empty() && target ? std::string_view{target->name} : name});
  if (!target) return;
  add_known(event, "glasshook.target.entity_id", target->entity_id);
  add_known(event, "glasshook.target.executable", target->executable);
}

std::string rooted(const std::string& path) {
  return path.starts_with("memfd:") ? "/" + path : path;
}

std::string_view until_nul(std::string_view bytes) { return bytes.substr(0, bytes.find('\0')); }

std::vector<std::string> split_nul(std::string_view bytes) {
  std::vector<std::string> pieces;
  while (!bytes.empty()) {
    const std::string_view piece = until_nul(bytes);
    pieces.emplace_back(piece);
    bytes.remove_prefix(std::min(piece.size() + 1, bytes.size()));
  }
  return pieces;
}

}  // namespace glasshook::behaviour
