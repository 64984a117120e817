// What a session offers to behaviour families.
#include "guest/linux/cgroup.h"
#include "hook/context.h"
#include "monitor/session_impl.h"
#include "monitor/windows_view.h"

namespace glasshook::monitor {

using behaviour::Call;
using behaviour::Event;

void Session::Impl::emit(const Call& call, Event event) {
  if (event.time == std::chrono::system_clock::time_point{}) event.time = call.time();
  if (!event.process) event.process = call.process();
  if (event.thread_id == 0) event.thread_id = call.thread_id();
  emit(std::move(event));
}

void Session::Impl::emit(const behaviour::UserCall& call, Event event) {
  if (event.time == std::chrono::system_clock::time_point{}) event.time = call.ended;
  if (!event.process) event.process = call.process;
  if (event.thread_id == 0) event.thread_id = call.thread_id;
  if (call.win32_process_id != 0) {
    event.fields.push_back({"glasshook.windows.process_id", std::uint64_t{call.win32_process_id}});
    event.fields.push_back({"glasshook.windows.thread_id", std::uint64_t{call.win32_thread_id}});
  }
  emit(std::move(event));
}

void Session::Impl::emit(Event event) {
  event.sequence = next_sequence_++;
  seen_.count(event);
  if (event.action == "filesystem_mounted" || event.action == "filesystem_unmounted")
    paths_->forget_mounts();
  sink_(event);
}

std::string Session::Impl::path(const Call& call, std::size_t capture) {
  const capture::FieldView* field = call.field(capture);
  if (field == nullptr) return {};
  if (field->truncated()) ++truncated_;
  const auto words_id = static_cast<std::uint16_t>(field->id + hook::kDentryWordsOffset);
  const capture::FieldView* words = call.record().find(words_id);
  if (words == nullptr) return paths_->path(*field);
  return paths_->dentry(*field, words);
}

std::string Session::Impl::file_path(const Call& call, std::uint64_t file_address) {
  return paths_->file(Gva{file_address}, Gva{call.context(hook::kContextTask)});
}

std::optional<std::string> Session::Impl::container_id(std::uint64_t control_groups) {
  const std::string path = linux_guest::cgroup_path(*kernel_, Gva{control_groups});
  if (path.empty()) return std::nullopt;
  return std::string{linux_guest::container_id_of(path)};
}

ProcessPtr Session::Impl::process_by_pid(std::uint32_t pid) { return processes_->by_pid(pid); }

behaviour::CodePlace Session::Impl::code_origin(const Call& call) {
  const std::uint64_t address = call.context(hook::kContextUserIp);
  if (address == 0 || !call.process()) return {};
  return view_->code_at(call.context(hook::kContextTask), *call.process(), address);
}

std::optional<std::string> Session::Impl::windows_module_at(const behaviour::UserCall& call,
                                                            std::uint64_t address) {
  if (!call.process) return std::nullopt;
  const auto process = linux_guest::find_process(*kernel_, call.process->pid);
  const auto windows = process ? windows_process(*kernel_, *process) : std::nullopt;
  if (!windows) return std::nullopt;
  const windows::LoadedModules modules = windows_modules(*kernel_, *process, windows->peb);
  bool has_ntdll = false;
  for (const windows::LoadedModule& module : modules.items) {
    if (address - module.base.value < module.size) return module.name;
    has_ntdll |= windows::module_stem(module.name) == "ntdll";
  }
  // A list that is still being made, or that has been changed, tells nothing.
  if (!has_ntdll || modules.incomplete) return std::nullopt;
  return std::string{};
}

ProcessPtr Session::Impl::process_forked(const Call& call, std::uint64_t child_task,
                                         behaviour::Process child) {
  return processes_->forked(call.process(), child_task, std::move(child));
}

ProcessPtr Session::Impl::process_executed(const Call& call, behaviour::Process image) {
  if (call.process()) {
    tracer_->on_process_executed(call.process());
    view_->forget(*call.process());
  }
  return processes_->executed(call.process(), std::move(image));
}

void Session::Impl::process_moved(std::uint32_t pid, std::uint64_t start_time,
                                  const std::string& container_id) {
  processes_->moved({.pid = pid, .start_time = start_time}, container_id);
}

void Session::Impl::process_exited(const Call& call) {
  const ProcessPtr& process = call.process();
  if (!process) return;
  tracer_->on_process_exit(process);
  for (auto& family : families_) family->on_process_exit(process, *this);
  if (imports_) imports_->forget(*process);
  view_->forget(*process);
  processes_->exited(process);
}

}  // namespace glasshook::monitor
