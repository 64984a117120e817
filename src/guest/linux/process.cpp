#include "guest/linux/process.h"

#include <algorithm>
#include <array>
#include <utility>

#include "guest/linux/cgroup.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxTasks = 1u << 20;
constexpr std::size_t kCommBytes = 16;                // TASK_COMM_LEN
constexpr std::uint32_t kKernelThread = 0x0020'0000;  // PF_KTHREAD
constexpr std::uint32_t kMaxPidLevel = 32;            // MAX_PID_NS_LEVEL

/// Reads the parts of one task.
class TaskReader {
 public:
  TaskReader(const LinuxKernel& kernel, Gva task) : kernel_(kernel), task_(task) {
    leader_ = kernel.pointer(task, l_.task.group_leader).value_or(Gva{});
  }

  Result<ProcessInfo> read() const {
    const auto pid = kernel_.read<std::uint32_t>(task_, l_.task.tgid);
    const auto tid = kernel_.read<std::uint32_t>(task_, l_.task.pid);
    const auto flags = kernel_.read<std::uint32_t>(task_, l_.task.flags);
    if (!pid || !tid || !flags || leader_.is_null())
      return fail(ErrorCode::guest_fault, "there is no task at {:#x}", task_.value);
    ProcessInfo info;
    info.task = task_;
    info.pid = *pid;
    info.tid = *tid;
    info.kernel_thread = (*flags & kKernelThread) != 0;
    info.exited = kernel_.read<std::uint32_t>(task_, l_.task.exit_state).value_or(0) != 0;
    info.start_time = start_time(leader_);
    info.name = kernel_.text(task_ + l_.task.comm.bytes(), kCommBytes);
    info.namespace_pid = namespace_pid();
    info.cgroup = cgroup_path(kernel_, kernel_.pointer(task_, l_.task.cgroups).value_or(Gva{}));
    info.container_id = container_id_of(info.cgroup);
    read_parent(info);
    read_credentials(info);
    read_directories(info);
    if (!info.kernel_thread) read_memory(info);
    return info;
  }

 private:
  [[nodiscard]] std::uint64_t start_time(Gva leader) const {
    return kernel_.read<std::uint64_t>(leader, l_.task.start_boottime).value_or(0);
  }

  /// The pid in the innermost namespace the process is in (task_tgid_vnr()).
  [[nodiscard]] std::uint32_t namespace_pid() const {
    const auto pid = kernel_.pointer(leader_, l_.task.thread_pid);
    const auto level = pid ? kernel_.read<std::uint32_t>(*pid, l_.pid.level) : std::nullopt;
    if (!level || *level > kMaxPidLevel || !l_.pid.numbers.present()) return 0;
    const Gva upid = *pid + l_.pid.numbers.bytes() + std::uint64_t{*level} * l_.pid.upid_size;
    return kernel_.read<std::uint32_t>(upid).value_or(0);
  }

  void read_parent(ProcessInfo& info) const {
    const auto parent = kernel_.pointer(leader_, l_.task.real_parent);
    if (!parent || parent->is_null()) return;
    const auto leader = kernel_.pointer(*parent, l_.task.group_leader);
    info.parent_pid = kernel_.read<std::uint32_t>(*parent, l_.task.tgid).value_or(0);
    if (leader && info.parent_pid != 0) info.parent_start_time = start_time(*leader);
  }

  void read_credentials(ProcessInfo& info) const {
    const auto cred = kernel_.pointer(task_, l_.task.real_cred);
    if (!cred) return;
    const auto id = [&](Offset member) {
      return kernel_.read<std::uint32_t>(*cred, member).value_or(0);
    };
    info.user_id = id(l_.cred.uid);
    info.effective_user_id = id(l_.cred.euid);
    info.group_id = id(l_.cred.gid);
    info.effective_group_id = id(l_.cred.egid);
  }

  void read_directories(ProcessInfo& info) const {
    info.root = root_of(kernel_, task_);
    const auto fs = kernel_.pointer(task_, l_.task.fs);
    if (!fs || fs->is_null() || !l_.fs.pwd.present()) return;
    if (const auto pwd = read_path_ref(kernel_, *fs + l_.fs.pwd.bytes()))
      info.working_directory = path_of(kernel_, *pwd, info.root);
  }

  void read_memory(ProcessInfo& info) const {
    const auto mm = kernel_.pointer(task_, l_.task.mm);
    if (!mm || mm->is_null()) return;
    info.mm = *mm;
    if (const auto space = kernel_.space_of(*mm)) info.space = *space;
    const auto file = kernel_.pointer(*mm, l_.mm.exe_file);
    if (file && !file->is_null()) info.executable = file_path(kernel_, *file, info.root);
    read_arguments(info);
  }

  void read_arguments(ProcessInfo& info) const {
    const auto start = kernel_.read<std::uint64_t>(info.mm, l_.mm.arg_start);
    const auto end = kernel_.read<std::uint64_t>(info.mm, l_.mm.arg_end);
    if (!start || !end || *end <= *start || Gva{*end}.is_kernel() || info.space.root.value == 0)
      return;
    std::string bytes(std::min<std::uint64_t>(*end - *start, kMaxArgumentBytes), '\0');
    const std::size_t got = VirtualMemory{kernel_.memory(), info.space}.read_some(
        Gva{*start}, std::as_writable_bytes(std::span{bytes}));
    info.arguments_truncated = got < *end - *start;
    bytes.resize(got);
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t stop = std::min(bytes.find('\0', at), bytes.size());
      info.arguments.push_back(bytes.substr(at, stop - at));
      at = stop + 1;
    }
  }

  const LinuxKernel& kernel_;
  const Layout& l_ = kernel_.layout();
  Gva task_;
  Gva leader_;
};

/// What the variable parts of a process may have cost to read.
std::size_t cost_of(const ProcessInfo& info) {
  std::size_t cost = sizeof info + info.executable.cost() + info.working_directory.cost();
  cost += info.cgroup.size() + info.arguments.size() * sizeof(std::string);
  for (const std::string& argument : info.arguments) cost += argument.size();
  return cost;
}

Result<Listing<Gva>> leaders(const LinuxKernel& kernel) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const auto init = kernel.symbol("init_task");
  const Offset tasks = kernel.layout().task.tasks;
  if (!init || !tasks.present())
    return fail(ErrorCode::unsupported, "the kernel has no list of tasks");
  return walk_list(kernel, *init + tasks.bytes(), tasks, kMaxTasks);
}

}  // namespace

Result<Listing<ProcessInfo>> processes(const LinuxKernel& kernel) {
  auto walk = leaders(kernel);
  if (!walk) return std::unexpected(walk.error());
  Listing<ProcessInfo> listing{.items = {}, .incomplete = std::move(walk->incomplete)};
  ListingBudget budget;
  for (const Gva task : walk->items) {
    auto info = TaskReader{kernel, task}.read();
    if (!info) {
      if (!listing.incomplete) listing.incomplete = info.error();
      continue;
    }
    const bool enough = budget.take(cost_of(*info));
    listing.items.push_back(std::move(*info));
    if (!enough) {
      listing.incomplete = ListingBudget::used_up();
      break;
    }
  }
  return listing;
}

Result<Listing<ThreadInfo>> threads(const LinuxKernel& kernel, Gva task) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  const Layout& l = kernel.layout();
  const auto signal = kernel.pointer(task, l.task.signal);
  if (!signal || signal->is_null() || !l.signal.thread_head.present())
    return fail(ErrorCode::guest_fault, "there is no task at {:#x}", task.value);
  auto walk =
      walk_list(kernel, *signal + l.signal.thread_head.bytes(), l.task.thread_node, kMaxTasks);
  Listing<ThreadInfo> listing{.items = {}, .incomplete = std::move(walk.incomplete)};
  for (const Gva thread : walk.items)
    listing.items.push_back(
        {.task = thread,
         .tid = kernel.read<std::uint32_t>(thread, l.task.pid).value_or(0),
         .start_time = kernel.read<std::uint64_t>(thread, l.task.start_boottime).value_or(0),
         .name = kernel.text(thread + l.task.comm.bytes(), kCommBytes)});
  return listing;
}

Result<ProcessInfo> process_at(const LinuxKernel& kernel, Gva task) {
  if (auto ok = kernel.require_types(); !ok) return std::unexpected(ok.error());
  return TaskReader{kernel, task}.read();
}

Result<ProcessInfo> find_process(const LinuxKernel& kernel, std::uint32_t pid) {
  const auto walk = leaders(kernel);
  if (!walk) return std::unexpected(walk.error());
  for (const Gva task : walk->items)
    if (kernel.read<std::uint32_t>(task, kernel.layout().task.tgid) == pid)
      return TaskReader{kernel, task}.read();
  if (walk->incomplete) return std::unexpected(*walk->incomplete);
  return fail(ErrorCode::not_found, "the guest has no process {}", pid);
}

std::string_view container_id_of(std::string_view cgroup) {
  constexpr std::size_t kIdLength = 64;
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  std::string_view id;
  for (std::size_t at = 0; at < cgroup.size();) {
    std::size_t end = at;
    while (end < cgroup.size() && is_hex(cgroup[end])) ++end;
    const bool monitor = cgroup.substr(0, at).ends_with("conmon-");
    if (end - at == kIdLength && !monitor) id = cgroup.substr(at, kIdLength);
    at = end + 1;
  }
  return id;
}

Gva user_gs_base(const LinuxKernel& kernel, Gva task) {
  const Gva base{kernel.read<std::uint64_t>(task, kernel.layout().task.gs_base).value_or(0)};
  return base.is_kernel() ? Gva{} : base;
}

}  // namespace glasshook::linux_guest
