// Every wall is run against, in a process of its own.
#include "confinement/confinement.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "confinement/own_user.h"

namespace glasshook::confinement {
namespace {

namespace fs = std::filesystem;

constexpr int kCannotConfine = 100;

class Confinement : public testing::Test {
 protected:
  Confinement() {
    std::string pattern = fs::temp_directory_path() / "glasshook-walls.XXXXXX";
    directory_ = mkdtemp(pattern.data());
    std::ofstream(directory_ / "file") << "text";
  }
  ~Confinement() override { fs::remove_all(directory_); }

  /// What `act` returns in a process that was confined before; -1 when that process crashed.
  static int confined(const std::function<int()>& act) {
    const pid_t child = fork();
    if (child == 0) {
      const auto walls = confine();
      _exit(walls && walls->empty() ? act() : kCannotConfine);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// The error of a call that was refused; 0 when it was not.
  static int error_of(long result) { return result < 0 ? errno : 0; }

  fs::path directory_;
};

TEST_F(Confinement, NoFileIsOpened) {
  const std::string file = directory_ / "file";
  EXPECT_EQ(confined([&] { return error_of(open(file.c_str(), O_RDONLY)); }), EACCES);
  EXPECT_EQ(confined([&] { return error_of(open(file.c_str(), O_RDWR)); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(open("/proc/self/mem", O_RDONLY)); }), EACCES);
  EXPECT_EQ(confined([&] { return error_of(open("/etc/passwd", O_RDONLY)); }), EACCES);
  EXPECT_EQ(confined([&] { return error_of(open(file.c_str(), O_CREAT | O_RDONLY, 0600)); }),
            EPERM);
}

TEST_F(Confinement, NoFileIsMadeRemovedOrRenamed) {
  const std::string file = directory_ / "file", other = directory_ / "other";
  EXPECT_EQ(confined([&] { return error_of(unlink(file.c_str())); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(rename(file.c_str(), other.c_str())); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(mkdir(other.c_str(), 0700)); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(symlink("x", other.c_str())); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(chmod(file.c_str(), 0777)); }), EPERM);
  EXPECT_TRUE(fs::exists(file));
  EXPECT_FALSE(fs::exists(other));
}

TEST_F(Confinement, NothingIsReachedByNetwork) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_VSOCK})
    EXPECT_EQ(confined([&] { return error_of(socket(family, SOCK_STREAM, 0)); }), EPERM) << family;
  const int before = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{.sin_family = AF_INET,
                      .sin_port = htons(9),
                      .sin_addr = {htonl(INADDR_LOOPBACK)},
                      .sin_zero = {}};
  EXPECT_EQ(
      confined([&] {
        return error_of(connect(before, reinterpret_cast<sockaddr*>(&address), sizeof address));
      }),
      EPERM);
  close(before);
}

TEST_F(Confinement, NothingIsExecuted) {
  EXPECT_EQ(confined([] {
              execl("/bin/true", "true", nullptr);
              return errno;
            }),
            EPERM);
  EXPECT_EQ(confined([] { return error_of(fork()); }), EPERM);
}

TEST_F(Confinement, NoMemoryBecomesExecutable) {
  const auto map = [](int rights) {
    return mmap(nullptr, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  EXPECT_EQ(confined([&] { return map(PROT_READ | PROT_EXEC) == MAP_FAILED ? errno : 0; }), EPERM);
  EXPECT_EQ(confined([&] {
              return error_of(mprotect(map(PROT_READ | PROT_WRITE), 4096, PROT_READ | PROT_EXEC));
            }),
            EPERM);
}

/// Guest RAM comes as a file that is open for reading alone.
TEST_F(Confinement, MemoryOpenForReadingIsNotWritten) {
  const int ram = memfd_create("ram", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(ram, 4096), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(ram);
  const int readable = open(path.c_str(), O_RDONLY);
  ASSERT_GE(readable, 0);
  close(ram);
  EXPECT_EQ(confined([&] {
              return mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, readable, 0) ==
                             MAP_FAILED
                         ? errno
                         : 0;
            }),
            EACCES);
  EXPECT_EQ(confined([&] {
              void* at = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, readable, 0);
              return error_of(mprotect(at, 4096, PROT_READ | PROT_WRITE));
            }),
            EACCES);
  const std::string again = "/proc/self/fd/" + std::to_string(readable);
  EXPECT_EQ(confined([&] { return error_of(open(again.c_str(), O_RDWR)); }), EPERM);
  close(readable);
}

TEST_F(Confinement, OtherProcessesAreNotTouched) {
  const pid_t parent = getpid();
  std::byte byte{};
  const iovec local{.iov_base = &byte, .iov_len = 1}, remote{.iov_base = &byte, .iov_len = 1};
  EXPECT_EQ(confined([&] { return error_of(ptrace(PTRACE_ATTACH, parent, nullptr, nullptr)); }),
            EPERM);
  EXPECT_EQ(confined([&] {
              return error_of(syscall(SYS_process_vm_writev, parent, &local, 1, &remote, 1, 0));
            }),
            EPERM);
  EXPECT_EQ(confined([] { return error_of(syscall(SYS_bpf, 0, nullptr, 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(syscall(SYS_io_uring_setup, 1, nullptr)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(unshare(0x10000000)); }), EPERM);
}

TEST_F(Confinement, OnlyItsChildIsSignalled) {
  const pid_t parent = getpid();
  EXPECT_EQ(confined([&] { return error_of(kill(parent, 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(kill(1, SIGTERM)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(kill(-1, SIGKILL)); }), EPERM);
  EXPECT_EQ(confined([&] { return error_of(syscall(SYS_tgkill, parent, parent, 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(raise(0)); }), 0);
}

TEST_F(Confinement, RootBecomesAUserOfItsOwn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  EXPECT_EQ(confined([] {
              const bool other = getuid() >= OwnUser::kFirst && getuid() <= OwnUser::kLast &&
                                 geteuid() == getuid() && getegid() == getuid();
              return other ? 0 : 1;
            }),
            0);
  EXPECT_EQ(confined([] { return error_of(syscall(SYS_setresuid, 0, 0, 0)); }), EPERM);
  EXPECT_EQ(confined([] {
              int threads_uid = -1;
              std::thread([&] { threads_uid = static_cast<int>(getuid()); }).join();
              return threads_uid == static_cast<int>(getuid()) ? 0 : 1;
            }),
            0);
}

TEST_F(Confinement, MemoryAndDescriptorsAreLimited) {
  const auto map = [](std::uint64_t size) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? errno : 0;
  };
  EXPECT_EQ(confined([&] { return map(kMostMemory / 2); }), 0);
  EXPECT_EQ(confined([&] { return map(kMostMemory + 4096); }), ENOMEM);
  EXPECT_EQ(confined([] {
              int fd = 0;
              while (fd >= 0 && fd < 1000) fd = dup(0);
              return fd < 0 ? errno : 0;
            }),
            EMFILE);
}

TEST_F(Confinement, NoPrivilegesAndNoCoreFile) {
  EXPECT_EQ(confined([] { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }), 1);
  EXPECT_EQ(confined([] {
              rlimit limit{};
              getrlimit(RLIMIT_CORE, &limit);
              return static_cast<int>(limit.rlim_cur + limit.rlim_max);
            }),
            0);
}

TEST_F(Confinement, WhatIsOpenStaysUsableAndThreadsAreMade) {
  const int file = open((directory_ / "file").c_str(), O_RDWR);
  EXPECT_EQ(confined([&] {
              char text[4];
              int read = 0;
              std::thread([&] { read = static_cast<int>(::read(file, text, 4)); }).join();
              return read == 4 && write(file, "more", 4) == 4 ? 0 : 1;
            }),
            0);
  close(file);
}

TEST_F(Confinement, ChildrenMadeBeforeCanBeEnded) {
  EXPECT_EQ(confined([] { return 0; }), 0);
  const pid_t monitor = fork();
  if (monitor == 0) {
    const pid_t vm = fork();
    if (vm == 0)
      for (;;) pause();
    if (!confine(vm)) _exit(kCannotConfine);
    kill(vm, SIGKILL);
    int status = 0;
    _exit(waitpid(vm, &status, 0) == vm && WTERMSIG(status) == SIGKILL ? 0 : 1);
  }
  int status = 0;
  waitpid(monitor, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace glasshook::confinement
