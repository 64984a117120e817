#include "confinement/system_calls.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace glasshook::confinement {
namespace {

/// Whatever their arguments: work on what is open, time, memory, threads, and our own children.
/// clone3 hides its flags behind a pointer; a filter cannot look there, so the C library is made to
/// fall back to clone (below).
constexpr int kAllowed[] = {SCMP_SYS(read),
                            SCMP_SYS(readv),
                            SCMP_SYS(pread64),
                            SCMP_SYS(write),
                            SCMP_SYS(writev),
                            SCMP_SYS(pwrite64),
                            SCMP_SYS(lseek),
                            SCMP_SYS(close),
                            SCMP_SYS(fstat),
                            SCMP_SYS(newfstatat),
                            SCMP_SYS(statx),
                            SCMP_SYS(fsync),
                            SCMP_SYS(fdatasync),
                            SCMP_SYS(ftruncate),
                            SCMP_SYS(fcntl),
                            SCMP_SYS(dup),
                            SCMP_SYS(getdents64),
                            SCMP_SYS(access),
                            SCMP_SYS(faccessat),
                            SCMP_SYS(faccessat2),
                            SCMP_SYS(readlink),
                            SCMP_SYS(readlinkat),
                            SCMP_SYS(getcwd),
                            SCMP_SYS(poll),
                            SCMP_SYS(ppoll),
                            SCMP_SYS(select),
                            SCMP_SYS(pselect6),
                            SCMP_SYS(eventfd2),
                            SCMP_SYS(sendto),
                            SCMP_SYS(sendmsg),
                            SCMP_SYS(recvfrom),
                            SCMP_SYS(recvmsg),
                            SCMP_SYS(shutdown),
                            SCMP_SYS(getsockopt),
                            SCMP_SYS(pipe),
                            SCMP_SYS(pipe2),
                            SCMP_SYS(clock_gettime),
                            SCMP_SYS(clock_nanosleep),
                            SCMP_SYS(nanosleep),
                            SCMP_SYS(gettimeofday),
                            SCMP_SYS(time),
                            SCMP_SYS(clock_getres),
                            SCMP_SYS(brk),
                            SCMP_SYS(munmap),
                            SCMP_SYS(mremap),
                            SCMP_SYS(madvise),
                            SCMP_SYS(futex),
                            SCMP_SYS(set_robust_list),
                            SCMP_SYS(rseq),
                            SCMP_SYS(membarrier),
                            SCMP_SYS(sched_yield),
                            SCMP_SYS(sched_getaffinity),
                            SCMP_SYS(getcpu),
                            SCMP_SYS(gettid),
                            SCMP_SYS(getpid),
                            SCMP_SYS(getppid),
                            SCMP_SYS(getuid),
                            SCMP_SYS(geteuid),
                            SCMP_SYS(getgid),
                            SCMP_SYS(getegid),
                            SCMP_SYS(uname),
                            SCMP_SYS(sysinfo),
                            SCMP_SYS(getrusage),
                            SCMP_SYS(getrandom),
                            SCMP_SYS(rt_sigaction),
                            SCMP_SYS(rt_sigprocmask),
                            SCMP_SYS(rt_sigreturn),
                            SCMP_SYS(sigaltstack),
                            SCMP_SYS(rt_sigtimedwait),
                            SCMP_SYS(restart_syscall),
                            SCMP_SYS(wait4),
                            SCMP_SYS(waitid),
                            SCMP_SYS(exit),
                            SCMP_SYS(exit_group),
                            SCMP_SYS(prctl)};

/// What no hypervisor needs. Sockets it gets from us; QEMU does without io_uring.
constexpr int kRefusedInCage[] = {SCMP_SYS(socket),
                                  SCMP_SYS(connect),
                                  SCMP_SYS(bind),
                                  SCMP_SYS(listen),
                                  SCMP_SYS(io_uring_setup),
                                  SCMP_SYS(io_uring_enter),
                                  SCMP_SYS(io_uring_register),
                                  SCMP_SYS(ptrace),
                                  SCMP_SYS(process_vm_readv),
                                  SCMP_SYS(process_vm_writev),
                                  SCMP_SYS(process_madvise),
                                  SCMP_SYS(kcmp),
                                  SCMP_SYS(pidfd_open),
                                  SCMP_SYS(pidfd_getfd),
                                  SCMP_SYS(pidfd_send_signal),
                                  SCMP_SYS(unshare),
                                  SCMP_SYS(setns),
                                  SCMP_SYS(mount),
                                  SCMP_SYS(umount2),
                                  SCMP_SYS(pivot_root),
                                  SCMP_SYS(chroot),
                                  SCMP_SYS(fsopen),
                                  SCMP_SYS(fsmount),
                                  SCMP_SYS(open_tree),
                                  SCMP_SYS(move_mount),
                                  SCMP_SYS(mount_setattr),
                                  SCMP_SYS(name_to_handle_at),
                                  SCMP_SYS(open_by_handle_at),
                                  SCMP_SYS(bpf),
                                  SCMP_SYS(perf_event_open),
                                  SCMP_SYS(userfaultfd),
                                  SCMP_SYS(add_key),
                                  SCMP_SYS(request_key),
                                  SCMP_SYS(keyctl),
                                  SCMP_SYS(init_module),
                                  SCMP_SYS(finit_module),
                                  SCMP_SYS(delete_module),
                                  SCMP_SYS(kexec_load),
                                  SCMP_SYS(kexec_file_load),
                                  SCMP_SYS(swapon),
                                  SCMP_SYS(swapoff),
                                  SCMP_SYS(reboot),
                                  SCMP_SYS(acct),
                                  SCMP_SYS(quotactl),
                                  SCMP_SYS(syslog),
                                  SCMP_SYS(personality)};

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

Result<> check(int result, std::string_view what) {
  if (result == 0) return {};
  if (result == -EINVAL || result == -EOPNOTSUPP || result == -EFAULT || result == -ECANCELED)
    return fail(ErrorCode::unsupported, "seccomp, {}: {}", what, std::strerror(-result));
  return fail(ErrorCode::io, "seccomp, {}: {}", what, std::strerror(-result));
}

/// Calls that are allowed with some arguments only.
Result<> allow_in_part(scmp_filter_ctx filter, pid_t child) {
  struct Rule {
    int call;
    scmp_arg_cmp argument;
    std::uint32_t action = SCMP_ACT_ALLOW;
  };
  constexpr std::uint64_t kWrites = O_ACCMODE | O_CREAT | O_TRUNC;
  constexpr std::uint64_t kWholePid = 0xffff'ffff;
  const auto self = static_cast<std::uint64_t>(::getpid());
  const auto killed = static_cast<std::uint64_t>(child > 0 ? child : ::getpid());
  const Rule rules[] = {
      {SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_MASKED_EQ, kWholePid, self)},
      {SCMP_SYS(kill), SCMP_A0(SCMP_CMP_MASKED_EQ, kWholePid, killed)},
      {SCMP_SYS(open), SCMP_A1(SCMP_CMP_MASKED_EQ, kWrites, O_RDONLY)},
      {SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, kWrites, O_RDONLY)},
      {SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
      {SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
      {SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
      {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, 0x5401, 0)},  // TCGETS: is it a terminal?
      {SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, 0x5413, 0)},  // TIOCGWINSZ: how wide is it?
      {SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0, 0)},   // reading limits
  };
  for (const Rule& rule : rules)
    if (auto ok = check(seccomp_rule_add_array(filter, rule.action, rule.call, 1, &rule.argument),
                        "rule");
        !ok)
      return ok;
  return check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

/// No process in new namespaces. clone3 is told to be missing, as above.
Result<> refuse_namespaces(scmp_filter_ctx filter) {
  for (const std::uint64_t flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET,
                                   CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) {
    const scmp_arg_cmp set = SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag);
    if (auto ok =
            check(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &set),
                  "rule");
        !ok)
      return ok;
  }
  return check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

/// The filter in the kernel's form. libseccomp hands it out by a file only.
Result<std::vector<sock_filter>> exported(scmp_filter_ctx filter) {
  const int fd = memfd_create("filter", MFD_CLOEXEC);
  if (fd < 0) return fail(ErrorCode::io, "memfd_create: {}", std::strerror(errno));
  std::vector<sock_filter> program;
  const auto done = check(seccomp_export_bpf(filter, fd), "export");
  if (done) {
    program.resize(static_cast<std::size_t>(lseek(fd, 0, SEEK_END)) / sizeof(sock_filter));
    const auto size = static_cast<ssize_t>(program.size() * sizeof(sock_filter));
    if (pread(fd, program.data(), program.size() * sizeof(sock_filter), 0) != size) program.clear();
  }
  close(fd);
  if (!done) return std::unexpected(done.error());
  if (program.empty()) return fail(ErrorCode::io, "seccomp: an empty filter");
  return program;
}

}  // namespace

Result<> filter_system_calls(pid_t child) {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release);
  if (!filter) return fail(ErrorCode::unsupported, "no seccomp filter can be made");
  if (auto ok = check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1), "all threads"); !ok)
    return ok;
  for (const int call : kAllowed)
    if (auto ok = check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0), "rule"); !ok)
      return ok;
  if (auto ok = allow_in_part(filter.get(), child); !ok) return ok;
  return check(seccomp_load(filter.get()), "load");
}

Result<std::vector<sock_filter>> caged_filter() {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (!filter) return fail(ErrorCode::unsupported, "no seccomp filter can be made");
  for (const int call : kRefusedInCage)
    if (auto ok = check(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0), "rule");
        !ok)
      return std::unexpected(ok.error());
  if (auto ok = refuse_namespaces(filter.get()); !ok) return std::unexpected(ok.error());
  return exported(filter.get());
}

}  // namespace glasshook::confinement
