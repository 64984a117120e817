#include "monitor/guest_view.h"

namespace glasshook::monitor {

using behaviour::CodeOrigin;
using behaviour::CodePlace;
using behaviour::Process;
using linux_guest::ProcessInfo;

namespace {

Process to_process(const ProcessInfo& info) {
  Process process;
  process.pid = info.pid;
  process.namespace_pid = info.namespace_pid;
  process.start_time = info.start_time;
  process.name = info.name;
  process.executable = info.executable.text;
  process.arguments = info.arguments;
  process.user_id = info.user_id;
  process.container_id = info.container_id;
  process.working_directory = info.working_directory.text;
  process.kernel_thread = info.kernel_thread;
  return process;
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

CodeOrigin origin_of_module(std::string_view path, std::string_view executable) {
  const std::string_view name = file_name(path);
  if (name.starts_with("ld-linux") || name.starts_with("ld-musl") || name.starts_with("ld-2.") ||
      name == "ld.so")
    return CodeOrigin::dynamic_loader;
  for (const std::string_view companion :
       {"libc.so", "libc-2.", "libpthread", "librt.so", "librt-2.", "libresolv", "libnss_",
        "libdl.so", "libdl-2.", "libanl", "libnsl", "libc.musl"})
    if (name.starts_with(companion)) return CodeOrigin::libc;
  return path == executable ? CodeOrigin::main_executable : CodeOrigin::other_module;
}

std::optional<Process> GuestView::process(std::uint64_t task) const {
  const auto info = linux_guest::process_at(*kernel_, Gva{task});
  if (!info) return std::nullopt;
  return to_process(*info);
}

Result<std::vector<SeenProcess>> GuestView::all() const {
  const auto listing = linux_guest::processes(*kernel_);
  if (!listing) return std::unexpected(listing.error());
  std::vector<SeenProcess> seen;
  for (const ProcessInfo& info : listing->items)
    seen.push_back({.process = to_process(info), .parent_pid = info.parent_pid});
  return seen;
}

CodePlace GuestView::code_at(std::uint64_t task, const Process& process, std::uint64_t address) {
  if (code_.size() >= kMaxProcesses) code_.clear();
  auto& areas = code_[process.entity_id];
  const auto after = areas.upper_bound(address);
  if (after != areas.begin() && address < std::prev(after)->second.end)
    return std::prev(after)->second.place;

  const auto mm = kernel_->pointer(Gva{task}, kernel_->layout().task.mm);
  if (!mm || mm->is_null()) return {};
  const auto area = linux_guest::area_at(*kernel_, *mm, Gva{address});
  if (!area) return {};
  CodePlace place;
  if (!area->file.is_null()) {
    place.module =
        linux_guest::file_path(*kernel_, area->file, linux_guest::root_of(*kernel_, Gva{task}))
            .text;
    place.origin = origin_of_module(place.module, process.executable);
  } else {
    place.origin = area->special == "[vdso]" ? CodeOrigin::vdso : CodeOrigin::anonymous;
  }
  if (areas.size() >= kMaxAreas) areas.clear();
  areas[area->start.value] = {.end = area->end.value, .place = place};
  return place;
}

}  // namespace glasshook::monitor
