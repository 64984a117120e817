#include "behaviour/windows/target.h"

#include "behaviour/support.h"

namespace glasshook::behaviour::windows {
namespace {

/// NtCurrentProcess() and NtCurrentThread(), winternl.h.
constexpr std::uint64_t kCurrentProcess = ~std::uint64_t{0};
constexpr std::uint64_t kCurrentThread = ~std::uint64_t{1};
/// PROCESS_INFORMATION, processthreadsapi.h
constexpr std::size_t kThreadHandleOffset = 8, kProcessIdOffset = 16, kThreadIdOffset = 20;

}  // namespace

std::optional<Target> other_process(const UserCall& call, const Objects& objects,
                                    std::uint64_t process_handle) {
  if (process_handle == kCurrentProcess) return std::nullopt;
  Target target{.image = {}, .handle = process_handle};
  const ObjectPtr object = objects.find(call, process_handle);
  if (object == nullptr || object->kind != ObjectKind::process) return target;
  if (object->process_id != 0 && object->process_id == call.win32_process_id) return std::nullopt;
  target.win32_id = object->process_id;
  target.image = object->name;
  return target;
}

void ThreadOwners::put(std::uint32_t thread, std::uint32_t process) {
  if (thread == 0 || process == 0) return;
  if (processes_.size() >= kMostThreads) processes_.clear();
  processes_[thread] = process;
}

std::uint32_t ThreadOwners::find(std::uint32_t thread) const {
  const auto found = processes_.find(thread);
  return found == processes_.end() ? 0 : found->second;
}

std::optional<Target> other_thread(const UserCall& call, const Objects& objects,
                                   const ThreadOwners& owners, std::uint64_t thread_handle) {
  if (thread_handle == kCurrentThread) return std::nullopt;
  const ObjectPtr object = objects.find(call, thread_handle);
  if (object == nullptr || object->kind != ObjectKind::thread) return std::nullopt;
  const std::uint32_t process =
      object->process_id != 0 ? object->process_id : owners.find(object->thread_id);
  if (process == 0 || process == call.win32_process_id) return std::nullopt;
  return Target{.win32_id = process, .image = {}, .handle = thread_handle};
}

Target note_created_process(const UserCall& call, Objects& objects) {
  constexpr std::string_view kMade = "lpProcessInformation";
  Target target{.win32_id = static_cast<std::uint32_t>(call.number(kMade, kProcessIdOffset, 4)),
                .image = {},
                .handle = call.number(kMade)};
  if (const ObjectPtr process = objects.find(call, target.handle)) {
    process->process_id = target.win32_id;
    target.image = process->name;
  }
  if (const ObjectPtr thread = objects.find(call, call.number(kMade, kThreadHandleOffset))) {
    thread->process_id = target.win32_id;
    thread->thread_id = static_cast<std::uint32_t>(call.number(kMade, kThreadIdOffset, 4));
  }
  return target;
}

void add_target(Event& event, const Objects& objects, const Target& target) {
  if (target.win32_id == 0) {
    add_flag(event, "glasshook.handle.unresolved", true);
    add(event, "glasshook.handle.value", hex(target.handle));
    return;
  }
  const auto process = objects.process_by_win32_id(target.win32_id);
  add_number(event, "glasshook.target.windows_process_id", target.win32_id);
  if (process) add_number(event, "glasshook.target.pid", process->pid);
  // Linux calls many a Windows process by the name of Wine's loader.
  add_known(event, "glasshook.target.name",
            process && target.image.empty() ? process->name : file_part(target.image));
  if (process) add_known(event, "glasshook.target.entity_id", process->entity_id);
  add_known(event, "glasshook.target.executable", target.image);
}

std::string named(const UserCall& call, std::string_view parameter) {
  const api::ArgumentValue* argument = call.argument(parameter);
  if (argument == nullptr) return {};
  const auto* text = std::get_if<std::string>(&argument->value);
  return text != nullptr && !text->empty() ? *text : hex(argument->raw);
}

std::string_view name_of(ObjectKind kind) {
  static constexpr std::string_view kNames[] = {
      "",        "file",   "pipe",    "mailslot", "device",   "key",
      "process", "thread", "section", "mutex",    "event",    "semaphore",
      "timer",   "job",    "token",   "port",     "directory"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(ObjectKind::directory) + 1);
  return kNames[static_cast<std::size_t>(kind)];
}

std::string file_part(std::string_view path) {
  const std::size_t end = path.find_last_of("\\/");
  return std::string(end == path.npos ? path : path.substr(end + 1));
}

}  // namespace glasshook::behaviour::windows
