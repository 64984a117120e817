#include "guest/linux/pid_table.h"

#include <array>
#include <utility>
#include <vector>

#include "guest/linux/listing.h"

namespace glasshook::linux_guest {
namespace {

constexpr std::size_t kMaxTasks = 1u << 16;
constexpr std::size_t kMaxNodes = 1u << 14;
constexpr std::size_t kSlots = 64;          // of a node of an xarray
constexpr std::uint64_t kTagMask = 3;       // 00 in pointers to what is stored
constexpr std::uint64_t kInternal = 2;      // in pointers to nodes
constexpr std::uint64_t kFirstNode = 4096;  // smaller internal entries are marks
constexpr int kMaxDepth = 11;
constexpr std::size_t kByGroup = 1;  // PIDTYPE_TGID

/// Appends what an xarray holds; false when it is no tree or too large.
bool collect(const LinuxKernel& kernel, Gva head, std::vector<Gva>& found) {
  const Offset slots_at = kernel.layout().pid_table.slots;
  std::vector<std::pair<std::uint64_t, int>> todo{
      {kernel.read<std::uint64_t>(head).value_or(0), 0}};
  for (std::size_t nodes = 0; !todo.empty();) {
    const auto [entry, depth] = todo.back();
    todo.pop_back();
    if (entry != 0 && (entry & kTagMask) == 0) found.push_back(Gva{entry});
    if ((entry & kTagMask) != kInternal || entry < kFirstNode) continue;
    std::array<std::uint64_t, kSlots> slots;
    if (++nodes > kMaxNodes || depth >= kMaxDepth || !Gva{entry}.is_kernel() ||
        !kernel.virtual_memory().read(Gva{entry - kInternal} + slots_at.bytes(),
                                      std::as_writable_bytes(std::span{slots})))
      return false;
    for (const std::uint64_t slot : slots)
      if (slot != 0) todo.emplace_back(slot, depth + 1);
  }
  return true;
}

}  // namespace

KnownProcesses listed_processes(const LinuxKernel& kernel) {
  KnownProcesses known;
  const Layout& l = kernel.layout();
  const auto init = kernel.symbol("init_task");
  if (!init || !l.task.tasks.present()) {
    known.incomplete = fail(ErrorCode::unsupported, "the kernel has no list of tasks").error();
    return known;
  }
  auto walk = walk_list(kernel, *init + l.task.tasks.bytes(), l.task.tasks, kMaxTasks);
  known.incomplete = std::move(walk.incomplete);
  for (const Gva task : walk.items)
    if (const auto id = kernel.read<std::uint32_t>(task, l.task.tgid)) known.tasks[*id] = task;
  return known;
}

KnownProcesses numbered_processes(const LinuxKernel& kernel) {
  KnownProcesses known;
  const Layout& l = kernel.layout();
  const auto space = kernel.symbol("init_pid_ns");
  if (!space || !l.pid_table.table.present() || !l.pid_table.slots.present() ||
      !l.pid_table.tasks.present() || !l.task.pid_links.present()) {
    known.incomplete = fail(ErrorCode::unsupported, "the kernel has no table of ids").error();
    return known;
  }
  std::vector<Gva> ids;
  if (!collect(kernel, *space + l.pid_table.table.bytes(), ids))
    known.incomplete = fail(ErrorCode::guest_fault, "the kernel's table of ids breaks off").error();
  for (const Gva id : ids) {
    // An hlist: its first node lies in the task, one node for each kind of id.
    const auto node = kernel.pointer(id + l.pid_table.tasks.bytes() + kByGroup * sizeof(Gva));
    if (!node || node->is_null()) continue;  // of a thread, a session, or on its way
    const Gva task = *node - l.task.pid_links.bytes() - kByGroup * 2 * sizeof(Gva);
    if (const auto group = kernel.read<std::uint32_t>(task, l.task.tgid))
      known.tasks[*group] = task;
  }
  return known;
}

}  // namespace glasshook::linux_guest
