// Where the watched kernel keeps what capture programs need.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "guest/linux/symbols.h"
#include "guest/linux/types.h"

namespace glasshook::hook {

/// Byte offsets in the structures of one Linux kernel (x86-64).
struct GuestLayout {
  std::int32_t current_task = 0;  ///< of the running task's pointer, from the per-CPU base

  struct Task {
    std::int32_t pid, tgid, group_leader, start_time, stack, mm, fs, flags, comm, real_parent,
        signal, nsproxy;
  } task{};
  struct Registers {
    std::int32_t ip, sp, orig_ax;  ///< from task->stack; the user registers at its top
  } user{};
  struct Path {
    std::int32_t mount, dentry;
  } path{}, root{};  ///< `root`: of fs->root.mnt and fs->root.dentry in fs_struct
  struct Mount {
    std::int32_t vfsmount;  ///< of the embedded struct vfsmount
    std::int32_t parent, mountpoint;
    std::int32_t root;  ///< mnt_root, from struct vfsmount
  } mount{};
  struct Dentry {
    std::int32_t parent, name, hash_pprev, inode, super_block;
  } dentry{};
  std::int32_t inode_number = 0;
  std::int32_t mount_namespace = 0;  ///< mnt_ns in nsproxy
  std::int32_t exe_file = 0;         ///< mm_struct
  std::int32_t file_path = 0;        ///< f_path in struct file
  std::int32_t filename_name = 0;    ///< name in struct filename
};

/// PF_KTHREAD (include/linux/sched.h): a kernel thread has no user registers.
inline constexpr std::uint64_t kKernelThreadFlag = 0x0020'0000;

/// Offsets from BTF. `current_task_offset`: of the per-CPU pointer to the running task;
/// `thread_size`: bytes of a kernel stack. ErrorCode::not_found names a member the kernel lacks.
[[nodiscard]] Result<GuestLayout> make_guest_layout(const linux_guest::KernelTypes& types,
                                                    const linux_guest::KernelSymbols& symbols,
                                                    std::uint64_t current_task_offset,
                                                    std::uint64_t thread_size);

}  // namespace glasshook::hook
