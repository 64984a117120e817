// The names and layouts in apis/linux are facts of the x86-64 Linux ABI: held against the system's
// headers here.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <map>

#include "api/errno.h"
#include "api/format.h"
#include "support.h"

#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)  // linux/fs.h clashes with sys/mount.h
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace glasshook::api {
namespace {

struct HeaderSet {
  const char* name;
  std::map<std::string, std::uint64_t> values;
};

#define X(NAME) {#NAME, static_cast<std::uint64_t>(NAME)}
const HeaderSet kSets[] = {
    {"open_flags",
     {X(O_RDONLY), X(O_WRONLY), X(O_RDWR), X(O_TMPFILE), X(O_SYNC), X(O_CREAT), X(O_EXCL),
      X(O_NOCTTY), X(O_TRUNC), X(O_APPEND), X(O_NONBLOCK), X(O_DSYNC), X(O_ASYNC), X(O_DIRECT),
      X(O_DIRECTORY), X(O_NOFOLLOW), X(O_NOATIME), X(O_CLOEXEC), X(O_PATH)}},
    {"access_modes", {X(F_OK), X(R_OK), X(W_OK), X(X_OK)}},
    {"stat_at_flags",
     {X(AT_SYMLINK_NOFOLLOW), X(AT_NO_AUTOMOUNT), X(AT_EMPTY_PATH), X(AT_STATX_FORCE_SYNC),
      X(AT_STATX_DONT_SYNC)}},
    {"access_at_flags", {X(AT_EACCESS), X(AT_SYMLINK_NOFOLLOW), X(AT_EMPTY_PATH)}},
    {"unlink_at_flags", {X(AT_REMOVEDIR)}},
    {"link_at_flags", {X(AT_SYMLINK_FOLLOW), X(AT_EMPTY_PATH)}},
    {"exec_at_flags", {X(AT_SYMLINK_NOFOLLOW), X(AT_EMPTY_PATH)}},
    {"rename_flags", {X(RENAME_NOREPLACE), X(RENAME_EXCHANGE), X(RENAME_WHITEOUT)}},
    {"statx_mask",
     {X(STATX_BASIC_STATS), X(STATX_TYPE), X(STATX_MODE), X(STATX_NLINK), X(STATX_UID),
      X(STATX_GID), X(STATX_ATIME), X(STATX_MTIME), X(STATX_CTIME), X(STATX_INO), X(STATX_SIZE),
      X(STATX_BLOCKS), X(STATX_BTIME), X(STATX_MNT_ID)}},
    {"seek_from", {X(SEEK_SET), X(SEEK_CUR), X(SEEK_END), X(SEEK_DATA), X(SEEK_HOLE)}},
    {"fcntl_command",
     {X(F_DUPFD),      X(F_GETFD),     X(F_SETFD),     X(F_GETFL),         X(F_SETFL),
      X(F_GETLK),      X(F_SETLK),     X(F_SETLKW),    X(F_SETOWN),        X(F_GETOWN),
      X(F_SETSIG),     X(F_GETSIG),    X(F_OFD_GETLK), X(F_OFD_SETLK),     X(F_OFD_SETLKW),
      X(F_SETLEASE),   X(F_GETLEASE),  X(F_NOTIFY),    X(F_DUPFD_CLOEXEC), X(F_SETPIPE_SZ),
      X(F_GETPIPE_SZ), X(F_ADD_SEALS), X(F_GET_SEALS)}},
    {"ioctl_request",
     {X(TCGETS),        X(TCSETS),       X(TCSETSW),      X(TCSETSF),     X(TIOCSCTTY),
      X(TIOCNOTTY),     X(TIOCGPGRP),    X(TIOCSPGRP),    X(TIOCSTI),     X(TIOCGWINSZ),
      X(TIOCSWINSZ),    X(TIOCGPTN),     X(TIOCSPTLCK),   X(TIOCGPTPEER), X(FIONREAD),
      X(FIONBIO),       X(FIOASYNC),     X(FIOCLEX),      X(FIONCLEX),    X(FICLONE),
      X(SIOCGIFCONF),   X(SIOCGIFFLAGS), X(SIOCSIFFLAGS), X(SIOCGIFADDR), X(SIOCSIFADDR),
      X(SIOCGIFHWADDR), X(SIOCGIFINDEX)}},
    {"lock_operation", {X(LOCK_SH), X(LOCK_EX), X(LOCK_UN), X(LOCK_NB)}},
    {"falloc_mode",
     {X(FALLOC_FL_KEEP_SIZE), X(FALLOC_FL_PUNCH_HOLE), X(FALLOC_FL_COLLAPSE_RANGE),
      X(FALLOC_FL_ZERO_RANGE), X(FALLOC_FL_INSERT_RANGE), X(FALLOC_FL_UNSHARE_RANGE)}},
    {"xattr_flags", {X(XATTR_CREATE), X(XATTR_REPLACE)}},
    {"mount_flags",
     {X(MS_RDONLY),  X(MS_NOSUID),   X(MS_NODEV),   X(MS_NOEXEC),   X(MS_SYNCHRONOUS),
      X(MS_REMOUNT), X(MS_MANDLOCK), X(MS_DIRSYNC), X(MS_NOATIME),  X(MS_NODIRATIME),
      X(MS_BIND),    X(MS_MOVE),     X(MS_REC),     X(MS_SILENT),   X(MS_UNBINDABLE),
      X(MS_PRIVATE), X(MS_SLAVE),    X(MS_SHARED),  X(MS_RELATIME), X(MS_STRICTATIME),
      X(MS_LAZYTIME)}},
    {"umount_flags", {X(MNT_FORCE), X(MNT_DETACH), X(MNT_EXPIRE), X(UMOUNT_NOFOLLOW)}},
    {"inotify_mask",
     {X(IN_ACCESS), X(IN_MODIFY), X(IN_ATTRIB), X(IN_CLOSE_WRITE), X(IN_CLOSE_NOWRITE), X(IN_OPEN),
      X(IN_MOVED_FROM), X(IN_MOVED_TO), X(IN_CREATE), X(IN_DELETE), X(IN_DELETE_SELF),
      X(IN_MOVE_SELF), X(IN_ONLYDIR), X(IN_DONT_FOLLOW), X(IN_EXCL_UNLINK), X(IN_MASK_CREATE),
      X(IN_MASK_ADD), X(IN_ISDIR), X(IN_ONESHOT)}},
    {"inotify_flags", {X(IN_NONBLOCK), X(IN_CLOEXEC)}},
    {"mmap_protection",
     {X(PROT_NONE), X(PROT_READ), X(PROT_WRITE), X(PROT_EXEC), X(PROT_GROWSDOWN), X(PROT_GROWSUP)}},
    {"mmap_flags",
     {X(MAP_SHARED), X(MAP_PRIVATE), X(MAP_SHARED_VALIDATE), X(MAP_FIXED), X(MAP_ANONYMOUS),
      X(MAP_32BIT), X(MAP_GROWSDOWN), X(MAP_DENYWRITE), X(MAP_EXECUTABLE), X(MAP_LOCKED),
      X(MAP_NORESERVE), X(MAP_POPULATE), X(MAP_NONBLOCK), X(MAP_STACK), X(MAP_HUGETLB), X(MAP_SYNC),
      X(MAP_FIXED_NOREPLACE)}},
    {"mremap_flags", {X(MREMAP_MAYMOVE), X(MREMAP_FIXED), X(MREMAP_DONTUNMAP)}},
    {"memory_advice",
     {X(MADV_NORMAL),        X(MADV_RANDOM),    X(MADV_SEQUENTIAL),  X(MADV_WILLNEED),
      X(MADV_DONTNEED),      X(MADV_FREE),      X(MADV_REMOVE),      X(MADV_DONTFORK),
      X(MADV_DOFORK),        X(MADV_MERGEABLE), X(MADV_UNMERGEABLE), X(MADV_HUGEPAGE),
      X(MADV_NOHUGEPAGE),    X(MADV_DONTDUMP),  X(MADV_DODUMP),      X(MADV_WIPEONFORK),
      X(MADV_KEEPONFORK),    X(MADV_COLD),      X(MADV_PAGEOUT),     X(MADV_POPULATE_READ),
      X(MADV_POPULATE_WRITE)}},
    {"msync_flags", {X(MS_ASYNC), X(MS_INVALIDATE), X(MS_SYNC)}},
    {"mlock_flags", {X(MCL_CURRENT), X(MCL_FUTURE), X(MCL_ONFAULT)}},
    {"memfd_flags", {X(MFD_CLOEXEC), X(MFD_ALLOW_SEALING), X(MFD_HUGETLB)}},
    {"clone_flags",
     {X(CLONE_VM),
      X(CLONE_FS),
      X(CLONE_FILES),
      X(CLONE_SIGHAND),
      X(CLONE_PIDFD),
      X(CLONE_PTRACE),
      X(CLONE_VFORK),
      X(CLONE_PARENT),
      X(CLONE_THREAD),
      X(CLONE_NEWNS),
      X(CLONE_SYSVSEM),
      X(CLONE_SETTLS),
      X(CLONE_PARENT_SETTID),
      X(CLONE_CHILD_CLEARTID),
      X(CLONE_DETACHED),
      X(CLONE_UNTRACED),
      X(CLONE_CHILD_SETTID),
      X(CLONE_NEWCGROUP),
      X(CLONE_NEWUTS),
      X(CLONE_NEWIPC),
      X(CLONE_NEWUSER),
      X(CLONE_NEWPID),
      X(CLONE_NEWNET),
      X(CLONE_IO),
      X(SIGCHLD)}},
    {"wait_options",
     {X(WNOHANG), X(WUNTRACED), X(WEXITED), X(WCONTINUED), X(WNOWAIT), X(__WNOTHREAD), X(__WALL),
      X(__WCLONE)}},
    {"wait_id", {X(P_ALL), X(P_PID), X(P_PGID), X(P_PIDFD)}},
    {"sched_policy",
     {X(SCHED_OTHER), X(SCHED_FIFO), X(SCHED_RR), X(SCHED_BATCH), X(SCHED_IDLE),
      X(SCHED_DEADLINE)}},
    {"priority_which", {X(PRIO_PROCESS), X(PRIO_PGRP), X(PRIO_USER)}},
    {"rlimit_resource",
     {X(RLIMIT_CPU), X(RLIMIT_FSIZE), X(RLIMIT_DATA), X(RLIMIT_STACK), X(RLIMIT_CORE),
      X(RLIMIT_RSS), X(RLIMIT_NPROC), X(RLIMIT_NOFILE), X(RLIMIT_MEMLOCK), X(RLIMIT_AS),
      X(RLIMIT_LOCKS), X(RLIMIT_SIGPENDING), X(RLIMIT_MSGQUEUE), X(RLIMIT_NICE), X(RLIMIT_RTPRIO),
      X(RLIMIT_RTTIME)}},
    {"prctl_option",
     {X(PR_SET_PDEATHSIG),
      X(PR_GET_PDEATHSIG),
      X(PR_GET_DUMPABLE),
      X(PR_SET_DUMPABLE),
      X(PR_GET_UNALIGN),
      X(PR_SET_UNALIGN),
      X(PR_GET_KEEPCAPS),
      X(PR_SET_KEEPCAPS),
      X(PR_GET_TIMING),
      X(PR_SET_TIMING),
      X(PR_SET_NAME),
      X(PR_GET_NAME),
      X(PR_GET_SECCOMP),
      X(PR_SET_SECCOMP),
      X(PR_CAPBSET_READ),
      X(PR_CAPBSET_DROP),
      X(PR_GET_TSC),
      X(PR_SET_TSC),
      X(PR_GET_SECUREBITS),
      X(PR_SET_SECUREBITS),
      X(PR_SET_TIMERSLACK),
      X(PR_GET_TIMERSLACK),
      X(PR_TASK_PERF_EVENTS_DISABLE),
      X(PR_TASK_PERF_EVENTS_ENABLE),
      X(PR_MCE_KILL),
      X(PR_MCE_KILL_GET),
      X(PR_SET_MM),
      X(PR_SET_PTRACER),
      X(PR_SET_CHILD_SUBREAPER),
      X(PR_GET_CHILD_SUBREAPER),
      X(PR_SET_NO_NEW_PRIVS),
      X(PR_GET_NO_NEW_PRIVS),
      X(PR_GET_TID_ADDRESS),
      X(PR_SET_THP_DISABLE),
      X(PR_GET_THP_DISABLE),
      X(PR_CAP_AMBIENT),
      X(PR_GET_SPECULATION_CTRL),
      X(PR_SET_SPECULATION_CTRL),
      X(PR_SET_IO_FLUSHER),
      X(PR_GET_IO_FLUSHER),
      X(PR_SET_SYSCALL_USER_DISPATCH),
      X(PR_SCHED_CORE),
      X(PR_SET_VMA)}},
    {"ptrace_request",
     {X(PTRACE_TRACEME),         X(PTRACE_PEEKTEXT),   X(PTRACE_PEEKDATA),
      X(PTRACE_PEEKUSER),        X(PTRACE_POKETEXT),   X(PTRACE_POKEDATA),
      X(PTRACE_POKEUSER),        X(PTRACE_CONT),       X(PTRACE_KILL),
      X(PTRACE_SINGLESTEP),      X(PTRACE_GETREGS),    X(PTRACE_SETREGS),
      X(PTRACE_GETFPREGS),       X(PTRACE_SETFPREGS),  X(PTRACE_ATTACH),
      X(PTRACE_DETACH),          X(PTRACE_SYSCALL),    X(PTRACE_SETOPTIONS),
      X(PTRACE_GETEVENTMSG),     X(PTRACE_GETSIGINFO), X(PTRACE_SETSIGINFO),
      X(PTRACE_GETREGSET),       X(PTRACE_SETREGSET),  X(PTRACE_SEIZE),
      X(PTRACE_INTERRUPT),       X(PTRACE_LISTEN),     X(PTRACE_PEEKSIGINFO),
      X(PTRACE_GETSIGMASK),      X(PTRACE_SETSIGMASK), X(PTRACE_SECCOMP_GET_FILTER),
      X(PTRACE_GET_SYSCALL_INFO)}},
    {"persona",
     {X(ADDR_NO_RANDOMIZE), X(MMAP_PAGE_ZERO), X(ADDR_COMPAT_LAYOUT), X(READ_IMPLIES_EXEC),
      X(ADDR_LIMIT_32BIT), X(SHORT_INODE), X(WHOLE_SECONDS), X(STICKY_TIMEOUTS),
      X(ADDR_LIMIT_3GB)}},
    {"signal_names",
     {X(SIGHUP),  X(SIGINT),    X(SIGQUIT), X(SIGILL),  X(SIGTRAP),   X(SIGABRT), X(SIGBUS),
      X(SIGFPE),  X(SIGKILL),   X(SIGUSR1), X(SIGSEGV), X(SIGUSR2),   X(SIGPIPE), X(SIGALRM),
      X(SIGTERM), X(SIGSTKFLT), X(SIGCHLD), X(SIGCONT), X(SIGSTOP),   X(SIGTSTP), X(SIGTTIN),
      X(SIGTTOU), X(SIGURG),    X(SIGXCPU), X(SIGXFSZ), X(SIGVTALRM), X(SIGPROF), X(SIGWINCH),
      X(SIGIO),   X(SIGPWR),    X(SIGSYS)}},
    {"mask_how", {X(SIG_BLOCK), X(SIG_UNBLOCK), X(SIG_SETMASK)}},
    {"signal_action_flags",
     {X(SA_NOCLDSTOP), X(SA_NOCLDWAIT), X(SA_SIGINFO), X(SA_ONSTACK), X(SA_RESTART), X(SA_NODEFER),
      X(SA_RESETHAND)}},
    {"address_family",
     {X(AF_UNSPEC), X(AF_UNIX), X(AF_INET), X(AF_AX25), X(AF_IPX), X(AF_APPLETALK), X(AF_INET6),
      X(AF_NETLINK), X(AF_PACKET), X(AF_ALG), X(AF_TIPC), X(AF_BLUETOOTH), X(AF_CAN), X(AF_RXRPC),
      X(AF_VSOCK), X(AF_KCM), X(AF_QIPCRTR), X(AF_SMC), X(AF_XDP)}},
    {"socket_type",
     {X(SOCK_STREAM), X(SOCK_DGRAM), X(SOCK_RAW), X(SOCK_RDM), X(SOCK_SEQPACKET), X(SOCK_DCCP),
      X(SOCK_PACKET), X(SOCK_NONBLOCK), X(SOCK_CLOEXEC)}},
    {"accept_flags", {X(SOCK_NONBLOCK), X(SOCK_CLOEXEC)}},
    {"ip_protocol",
     {X(IPPROTO_IP), X(IPPROTO_ICMP), X(IPPROTO_IGMP), X(IPPROTO_TCP), X(IPPROTO_UDP),
      X(IPPROTO_IPV6), X(IPPROTO_GRE), X(IPPROTO_ESP), X(IPPROTO_AH), X(IPPROTO_ICMPV6),
      X(IPPROTO_SCTP), X(IPPROTO_UDPLITE), X(IPPROTO_RAW)}},
    {"socket_level",
     {X(SOL_SOCKET), X(IPPROTO_IP), X(IPPROTO_TCP), X(IPPROTO_UDP), X(IPPROTO_IPV6), X(SOL_PACKET),
      X(SOL_NETLINK)}},
    {"socket_option",
     {X(SO_DEBUG),         X(SO_REUSEADDR),     X(SO_TYPE),      X(SO_ERROR),
      X(SO_DONTROUTE),     X(SO_BROADCAST),     X(SO_SNDBUF),    X(SO_RCVBUF),
      X(SO_KEEPALIVE),     X(SO_OOBINLINE),     X(SO_PRIORITY),  X(SO_LINGER),
      X(SO_REUSEPORT),     X(SO_PASSCRED),      X(SO_PEERCRED),  X(SO_RCVLOWAT),
      X(SO_SNDLOWAT),      X(SO_RCVTIMEO),      X(SO_SNDTIMEO),  X(SO_BINDTODEVICE),
      X(SO_ATTACH_FILTER), X(SO_DETACH_FILTER), X(SO_TIMESTAMP), X(SO_ACCEPTCONN),
      X(SO_SNDBUFFORCE),   X(SO_RCVBUFFORCE),   X(SO_MARK),      X(SO_PROTOCOL),
      X(SO_DOMAIN),        X(SO_ATTACH_BPF)}},
    {"shutdown_how", {X(SHUT_RD), X(SHUT_WR), X(SHUT_RDWR)}},
    {"message_flags",
     {X(MSG_OOB), X(MSG_PEEK), X(MSG_DONTROUTE), X(MSG_CTRUNC), X(MSG_TRUNC), X(MSG_DONTWAIT),
      X(MSG_EOR), X(MSG_WAITALL), X(MSG_CONFIRM), X(MSG_ERRQUEUE), X(MSG_NOSIGNAL), X(MSG_MORE),
      X(MSG_WAITFORONE), X(MSG_ZEROCOPY), X(MSG_FASTOPEN), X(MSG_CMSG_CLOEXEC)}},
    {"resolver_error",
     {X(EAI_BADFLAGS), X(EAI_NONAME), X(EAI_AGAIN), X(EAI_FAIL), X(EAI_FAMILY), X(EAI_SOCKTYPE),
      X(EAI_SERVICE), X(EAI_MEMORY), X(EAI_SYSTEM), X(EAI_OVERFLOW), X(EAI_NODATA),
      X(EAI_ADDRFAMILY)}},
    {"resolver_flags",
     {X(AI_PASSIVE), X(AI_CANONNAME), X(AI_NUMERICHOST), X(AI_V4MAPPED), X(AI_ALL),
      X(AI_ADDRCONFIG), X(AI_NUMERICSERV)}},
    {"name_flags",
     {X(NI_NUMERICHOST), X(NI_NUMERICSERV), X(NI_NOFQDN), X(NI_NAMEREQD), X(NI_DGRAM)}},
    {"poll_events",
     {X(POLLIN), X(POLLPRI), X(POLLOUT), X(POLLERR), X(POLLHUP), X(POLLNVAL), X(POLLRDNORM),
      X(POLLRDBAND), X(POLLWRNORM), X(POLLWRBAND), X(POLLMSG), X(POLLRDHUP)}},
    {"epoll_operation", {X(EPOLL_CTL_ADD), X(EPOLL_CTL_DEL), X(EPOLL_CTL_MOD)}},
    {"epoll_events",
     {X(EPOLLIN), X(EPOLLPRI), X(EPOLLOUT), X(EPOLLERR), X(EPOLLHUP), X(EPOLLRDHUP),
      X(EPOLLEXCLUSIVE), X(EPOLLWAKEUP), X(EPOLLONESHOT), X(EPOLLET)}},
    {"epoll_flags", {X(EPOLL_CLOEXEC)}},
    {"eventfd_flags", {X(EFD_SEMAPHORE), X(EFD_NONBLOCK), X(EFD_CLOEXEC)}},
    {"timerfd_flags", {X(TFD_NONBLOCK), X(TFD_CLOEXEC)}},
    {"timer_set_flags", {X(TFD_TIMER_ABSTIME), X(TFD_TIMER_CANCEL_ON_SET)}},
    {"random_flags", {X(GRND_NONBLOCK), X(GRND_RANDOM), X(GRND_INSECURE)}},
    {"dlopen_mode",
     {X(RTLD_LAZY), X(RTLD_NOW), X(RTLD_NOLOAD), X(RTLD_DEEPBIND), X(RTLD_GLOBAL),
      X(RTLD_NODELETE)}},
    {"clock_name",
     {X(CLOCK_REALTIME), X(CLOCK_MONOTONIC), X(CLOCK_PROCESS_CPUTIME_ID),
      X(CLOCK_THREAD_CPUTIME_ID), X(CLOCK_MONOTONIC_RAW), X(CLOCK_REALTIME_COARSE),
      X(CLOCK_MONOTONIC_COARSE), X(CLOCK_BOOTTIME), X(CLOCK_REALTIME_ALARM),
      X(CLOCK_BOOTTIME_ALARM), X(CLOCK_TAI)}},
    {"interval_timer", {X(ITIMER_REAL), X(ITIMER_VIRTUAL), X(ITIMER_PROF)}},
    {"usage_of", {X(RUSAGE_SELF), X(RUSAGE_CHILDREN), X(RUSAGE_THREAD)}},
};
#undef X

/// Flag sets hold 32 bits; enumerations sign-extend.
std::uint64_t as_declared(const ValueSet& set, std::uint64_t value) {
  return set.is_flags ? value & 0xffffffff : value;
}

TEST(Abi, SetsMatchTheSystemHeaders) {
  for (const HeaderSet& header : kSets) {
    const ValueSet* set = shipped().vocabulary().find_set(header.name);
    ASSERT_NE(set, nullptr) << header.name;
    EXPECT_EQ(set->values.size(), header.values.size()) << header.name;
    for (const NamedValue& named : set->values) {
      const auto found = header.values.find(named.name);
      ASSERT_NE(found, header.values.end()) << named.name << " is not in this test";
      EXPECT_EQ(named.value, as_declared(*set, found->second)) << named.name;
    }
  }
}

TEST(Abi, EverySetIsTested) {
  for (const auto& [name, set] : shipped().vocabulary().sets) {
    const bool tested =
        std::ranges::any_of(kSets, [&](const HeaderSet& header) { return header.name == name; });
    EXPECT_TRUE(tested || name == "syscall_number") << name;
  }
}

TEST(Abi, EveryFlagCanBeShown) {
  for (const auto& [name, set] : shipped().vocabulary().sets) {
    if (!set.is_flags) continue;
    for (const NamedValue& flag : set.values)
      EXPECT_NE(show_flags(set, flag.value).find(flag.name), std::string::npos)
          << flag.name << " is hidden by an earlier flag of " << name;
  }
}

TEST(Abi, SystemCallNumbersMatchTheSystemHeader) {
  std::ifstream header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
  if (!header) GTEST_SKIP() << "no asm/unistd_64.h";
  const ValueSet* set = shipped().vocabulary().find_set("syscall_number");
  ASSERT_NE(set, nullptr);
  std::map<std::string, std::uint64_t> declared;
  for (const NamedValue& named : set->values) declared[named.name] = named.value;
  std::size_t checked = 0;
  for (std::string line; std::getline(header, line);) {
    char text[64];
    unsigned value = 0;
    if (std::sscanf(line.c_str(), "#define __NR_%63s %u", text, &value) != 2) continue;
    if (!declared.contains(text)) continue;  // newer than the list
    EXPECT_EQ(declared[text], value) << text;
    ++checked;
  }
  EXPECT_EQ(checked, declared.size());
}

struct HeaderField {
  const char* structure;
  std::size_t structure_size;
  const char* field;
  std::size_t offset;
  std::size_t size;
};

#define FIELD(STRUCT, MEMBER, NAME)                                        \
  {#STRUCT, sizeof(struct STRUCT), #NAME, offsetof(struct STRUCT, MEMBER), \
   sizeof(static_cast<struct STRUCT*>(nullptr)->MEMBER)}
const HeaderField kFields[] = {FIELD(timespec, tv_sec, tv_sec),
                               FIELD(timespec, tv_nsec, tv_nsec),
                               FIELD(timeval, tv_sec, tv_sec),
                               FIELD(timeval, tv_usec, tv_usec),
                               FIELD(itimerspec, it_interval.tv_sec, interval_tv_sec),
                               FIELD(itimerspec, it_interval.tv_nsec, interval_tv_nsec),
                               FIELD(itimerspec, it_value.tv_sec, value_tv_sec),
                               FIELD(itimerspec, it_value.tv_nsec, value_tv_nsec),
                               FIELD(itimerval, it_interval.tv_sec, interval_tv_sec),
                               FIELD(itimerval, it_interval.tv_usec, interval_tv_usec),
                               FIELD(itimerval, it_value.tv_sec, value_tv_sec),
                               FIELD(itimerval, it_value.tv_usec, value_tv_usec),
                               FIELD(stat, st_mode, st_mode),
                               FIELD(stat, st_size, st_size),
                               FIELD(stat, st_uid, st_uid),
                               FIELD(stat, st_gid, st_gid),
                               FIELD(stat, st_ino, st_ino),
                               FIELD(stat, st_nlink, st_nlink),
                               FIELD(dirent, d_ino, d_ino),
                               FIELD(dirent, d_type, d_type),
                               FIELD(dirent, d_name, d_name),
                               FIELD(iovec, iov_base, iov_base),
                               FIELD(iovec, iov_len, iov_len),
                               FIELD(pollfd, fd, fd),
                               FIELD(pollfd, events, events),
                               FIELD(pollfd, revents, revents),
                               FIELD(rlimit, rlim_cur, rlim_cur),
                               FIELD(rlimit, rlim_max, rlim_max),
                               FIELD(utsname, sysname, sysname),
                               FIELD(utsname, nodename, nodename),
                               FIELD(utsname, release, release),
                               FIELD(utsname, version, version),
                               FIELD(utsname, machine, machine),
                               FIELD(sigaction, sa_handler, sa_handler),
                               FIELD(sigaction, sa_flags, sa_flags),
                               FIELD(msghdr, msg_name, msg_name),
                               FIELD(msghdr, msg_namelen, msg_namelen),
                               FIELD(msghdr, msg_iov, msg_iov),
                               FIELD(msghdr, msg_iovlen, msg_iovlen),
                               FIELD(msghdr, msg_control, msg_control),
                               FIELD(msghdr, msg_controllen, msg_controllen),
                               FIELD(msghdr, msg_flags, msg_flags),
                               FIELD(epoll_event, events, events),
                               FIELD(epoll_event, data, data),
                               FIELD(flock, l_type, l_type),
                               FIELD(flock, l_whence, l_whence),
                               FIELD(flock, l_start, l_start),
                               FIELD(flock, l_len, l_len),
                               FIELD(flock, l_pid, l_pid),
                               FIELD(sched_param, sched_priority, sched_priority),
                               FIELD(utimbuf, actime, actime),
                               FIELD(utimbuf, modtime, modtime),
                               FIELD(winsize, ws_row, ws_row),
                               FIELD(winsize, ws_col, ws_col),
                               FIELD(addrinfo, ai_flags, ai_flags),
                               FIELD(addrinfo, ai_family, ai_family),
                               FIELD(addrinfo, ai_socktype, ai_socktype),
                               FIELD(addrinfo, ai_protocol, ai_protocol),
                               FIELD(statx, stx_mode, stx_mode),
                               FIELD(statx, stx_size, stx_size),
                               FIELD(statx, stx_uid, stx_uid),
                               FIELD(statx, stx_gid, stx_gid),
                               FIELD(statx, stx_ino, stx_ino),
                               FIELD(statvfs, f_bsize, f_bsize),
                               FIELD(statvfs, f_blocks, f_blocks),
                               FIELD(statvfs, f_bfree, f_bfree),
                               FIELD(statvfs, f_files, f_files),
                               FIELD(statvfs, f_flag, f_flag)};
#undef FIELD

TEST(Abi, StructuresMatchTheSystemHeaders) {
  std::map<std::string, std::size_t> fields_tested;
  for (const HeaderField& header : kFields) {
    const StructureLayout* layout = shipped().vocabulary().find_structure(header.structure);
    ASSERT_NE(layout, nullptr) << header.structure;
    EXPECT_EQ(layout->size, header.structure_size) << header.structure;
    const auto field = std::ranges::find(layout->fields, header.field, &StructureField::name);
    ASSERT_NE(field, layout->fields.end()) << header.structure << "." << header.field;
    EXPECT_EQ(field->offset, header.offset) << header.structure << "." << header.field;
    EXPECT_EQ(field->bytes, header.size) << header.structure << "." << header.field;
    ++fields_tested[header.structure];
  }
  for (const auto& [name, layout] : shipped().vocabulary().structures)
    if (!layout.fields.empty() && !layout.fields[0].name.empty()) {
      EXPECT_EQ(fields_tested[name], layout.fields.size()) << name << " is not in this test";
    }
}

TEST(Abi, ErrorsMatchTheLibrary) {
  for (int number = 1; number < 200; ++number) {
    const char* name = strerrorname_np(number);
    const auto value = static_cast<std::uint32_t>(number);
    EXPECT_EQ(errno_name(value), name ? name : "") << number;
    EXPECT_EQ(errno_message(value), name ? std::strerror(number) : "");
  }
  EXPECT_EQ(errno_name(512), "ERESTARTSYS");
  EXPECT_EQ(errno_name(0), "");
  EXPECT_EQ(errno_name(~0u), "");
}

}  // namespace
}  // namespace glasshook::api
