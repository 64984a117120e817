// Processes and threads of the guest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest/linux/kernel.h"
#include "guest/linux/listing.h"
#include "guest/linux/path.h"

namespace glasshook::linux_guest {

/// Longest command line that is read.
inline constexpr std::size_t kMaxArgumentBytes = 65536;

/// A process as it was at one moment. Strings are raw guest bytes. What could not be read (paged
/// out, exiting) is empty.
struct ProcessInfo {
  Gva task;                         ///< struct task_struct of the thread it was asked for
  std::uint32_t pid = 0;            ///< thread group id in the first pid namespace
  std::uint32_t tid = 0;            ///< of `task`
  std::uint32_t namespace_pid = 0;  ///< as the process itself sees it; 0 when unknown
  std::uint64_t start_time = 0;     ///< of the thread group leader, ns since boot: with the pid it
                                    ///< names a process for good
  std::uint32_t parent_pid = 0;     ///< 0 for the first process and for kthreadd
  std::uint64_t parent_start_time = 0;
  std::uint32_t user_id = 0, effective_user_id = 0;
  std::uint32_t group_id = 0, effective_group_id = 0;
  std::string name;  ///< comm
  FilePath executable;
  std::vector<std::string> arguments;
  bool arguments_truncated = false;  ///< longer than the cap, or partly paged out
  FilePath working_directory;
  PathRef root;              ///< its root directory
  std::string cgroup;        ///< path in the cgroup v2 hierarchy, else in a v1 hierarchy
  std::string container_id;  ///< 64 hex digits; empty outside containers
  bool kernel_thread = false;
  bool exited = false;  ///< a zombie
  Gva mm;               ///< struct mm_struct; null for kernel threads and zombies
  AddressSpace space;   ///< of mm; root 0 without one
};

struct ThreadInfo {
  Gva task;
  std::uint32_t tid = 0;
  std::uint64_t start_time = 0;  ///< ns since boot
  std::string name;
};

/// All processes (thread group leaders), oldest first, without the idle task.
[[nodiscard]] Result<Listing<ProcessInfo>> processes(const LinuxKernel& kernel);

/// All threads of the process that `task` belongs to, the leader first.
[[nodiscard]] Result<Listing<ThreadInfo>> threads(const LinuxKernel& kernel, Gva task);

/// One task. `guest_fault` when there is no task_struct at that address.
[[nodiscard]] Result<ProcessInfo> process_at(const LinuxKernel& kernel, Gva task);

/// The process with that pid (thread group id). `not_found` when there is none.
[[nodiscard]] Result<ProcessInfo> find_process(const LinuxKernel& kernel, std::uint32_t pid);

/// The GS base of a thread in user mode, as it was when it last gave up its processor or set it by
/// arch_prctl(). Null for Linux programs, which do not use it; in Wine it is the TEB.
[[nodiscard]] Gva user_gs_base(const LinuxKernel& kernel, Gva task);

/// The id in a cgroup path as Docker, containerd, CRI-O and Podman write it: the last run of
/// exactly 64 hex digits. Empty outside containers and for their monitors (`conmon`).
[[nodiscard]] std::string_view container_id_of(std::string_view cgroup);

}  // namespace glasshook::linux_guest
