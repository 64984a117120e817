#include "hook/guest_layout.h"

#include <string_view>

namespace glasshook::hook {
namespace {

/// Collects offsets and remembers the first one that is missing.
class Offsets {
 public:
  explicit Offsets(const linux_guest::KernelTypes& types) : types_(types) {}

  void get(std::int32_t& out, std::string_view structure, std::string_view member) {
    const Result<std::uint32_t> offset = types_.offset(structure, member);
    if (offset)
      out = static_cast<std::int32_t>(*offset);
    else if (!error_)
      error_ = offset.error();
  }

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const linux_guest::KernelTypes& types_;
  std::optional<Error> error_;
};

void fill_task(Offsets& offsets, const linux_guest::KernelTypes& types, GuestLayout& layout) {
  GuestLayout::Task& task = layout.task;
  offsets.get(task.pid, "task_struct", "pid");
  offsets.get(task.tgid, "task_struct", "tgid");
  offsets.get(task.group_leader, "task_struct", "group_leader");
  offsets.get(task.stack, "task_struct", "stack");
  offsets.get(task.mm, "task_struct", "mm");
  offsets.get(task.fs, "task_struct", "fs");
  offsets.get(task.flags, "task_struct", "flags");
  offsets.get(task.comm, "task_struct", "comm");
  offsets.get(task.real_parent, "task_struct", "real_parent");
  offsets.get(task.signal, "task_struct", "signal");
  offsets.get(task.nsproxy, "task_struct", "nsproxy");
  // Linux 5.5 renamed real_start_time.
  const bool renamed = types.offset("task_struct", "start_boottime").has_value();
  offsets.get(task.start_time, "task_struct", renamed ? "start_boottime" : "real_start_time");
}

void fill_files(Offsets& offsets, GuestLayout& layout) {
  offsets.get(layout.path.mount, "path", "mnt");
  offsets.get(layout.path.dentry, "path", "dentry");
  offsets.get(layout.root.mount, "fs_struct", "root.mnt");
  offsets.get(layout.root.dentry, "fs_struct", "root.dentry");
  offsets.get(layout.mount.vfsmount, "mount", "mnt");
  offsets.get(layout.mount.parent, "mount", "mnt_parent");
  offsets.get(layout.mount.mountpoint, "mount", "mnt_mountpoint");
  offsets.get(layout.mount.root, "vfsmount", "mnt_root");
  offsets.get(layout.dentry.parent, "dentry", "d_parent");
  offsets.get(layout.dentry.name, "dentry", "d_name.name");
  offsets.get(layout.dentry.hash_pprev, "dentry", "d_hash.pprev");
  offsets.get(layout.dentry.inode, "dentry", "d_inode");
  offsets.get(layout.dentry.super_block, "dentry", "d_sb");
  offsets.get(layout.inode_number, "inode", "i_ino");
  offsets.get(layout.mount_namespace, "nsproxy", "mnt_ns");
  offsets.get(layout.exe_file, "mm_struct", "exe_file");
  offsets.get(layout.file_path, "file", "f_path");
  offsets.get(layout.filename_name, "filename", "name");
}

}  // namespace

Result<GuestLayout> make_guest_layout(const linux_guest::KernelTypes& types,
                                      const linux_guest::KernelSymbols& symbols,
                                      std::uint64_t current_task_offset,
                                      std::uint64_t thread_size) {
  // Far beyond any per-CPU area and kernel stack, and safe in 32 bits.
  constexpr std::uint64_t kMaxPerCpu = 1 << 30, kMaxStack = 1 << 20;
  if (current_task_offset > kMaxPerCpu || thread_size > kMaxStack)
    return fail(ErrorCode::guest_fault, "per-CPU offset {:#x} or stack size {:#x} is out of range",
                current_task_offset, thread_size);
  GuestLayout layout;
  layout.current_task = static_cast<std::int32_t>(current_task_offset);
  Offsets offsets(types);
  fill_task(offsets, types, layout);
  fill_files(offsets, layout);
  offsets.get(layout.user.ip, "pt_regs", "ip");
  offsets.get(layout.user.sp, "pt_regs", "sp");
  offsets.get(layout.user.orig_ax, "pt_regs", "orig_ax");
  if (offsets.error()) return std::unexpected(*offsets.error());

  // Kernels with FRED keep 16 bytes above the registers (TOP_OF_KERNEL_STACK_PADDING).
  const std::uint64_t padding = symbols.find("asm_fred_entrypoint_user") ? 16 : 0;
  const auto pt_regs = types.find_struct("pt_regs");
  const std::uint64_t used = (pt_regs ? types.size(*pt_regs) : 0) + padding;
  if (used >= thread_size)
    return fail(ErrorCode::guest_fault, "a kernel stack of {} bytes cannot hold the registers",
                thread_size);
  const auto bottom = static_cast<std::int32_t>(thread_size - used);
  layout.user.ip += bottom;
  layout.user.sp += bottom;
  layout.user.orig_ax += bottom;
  return layout;
}

}  // namespace glasshook::hook
