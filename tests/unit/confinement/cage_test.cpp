// Every wall around a hypervisor is run against from inside, by a process in a cage.
#include "confinement/cage.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>

namespace glasshook::confinement {
namespace {

namespace fs = std::filesystem;

constexpr int kNotEntered = 200;

class CageTest : public testing::Test {
 protected:
  CageTest() {
    std::string pattern = fs::temp_directory_path() / "glasshook-cage.XXXXXX";
    directory_ = mkdtemp(pattern.data());
    chmod(directory_.c_str(), 0755);
    std::ofstream(directory_ / "file") << "text";
    chmod((directory_ / "file").c_str(), 0666);
  }
  ~CageTest() override { fs::remove_all(directory_); }

  /// What `act` returns in the cage; -1 when that process crashed, kNotEntered when a wall of its
  /// own was missing though this machine has all.
  int caged(const std::function<int()>& act) {
    auto cage = Cage::prepare(needs_);
    EXPECT_TRUE(cage) << (cage ? "" : cage.error().message);
    if (!cage) return kNotEntered;
    const pid_t child = cage->fork_into();
    if (child == 0) _exit(cage->enter() == 0 ? act() : kNotEntered);
    EXPECT_THAT(cage->missing(0), testing::IsEmpty());
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// The error of a call that was refused; 0 when it was not.
  static int error_of(long result) { return result < 0 ? errno : 0; }

  fs::path directory_;
  CageNeeds needs_;
};

TEST_F(CageTest, NoFileOfTheHostIsOpenedButThoseItNeeds) {
  const std::string file = directory_ / "file";
  needs_.paths = {{"/usr", FileRights::execute}, {"/no/such/path", FileRights::read}};
  for (const char* name : {"/etc/passwd", "/etc/hostname", "/proc/1/status", "/proc/cpuinfo", "/"})
    EXPECT_EQ(caged([&] { return error_of(open(name, O_RDONLY)); }), EACCES) << name;
  EXPECT_EQ(caged([&] { return error_of(open(file.c_str(), O_RDONLY)); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(open("/proc/self/root/etc/passwd", O_RDONLY)); }), EACCES);
  EXPECT_EQ(caged([] { return error_of(open("/usr/bin/env", O_RDONLY)); }), 0);
  EXPECT_EQ(caged([] { return error_of(open("/usr/bin/env", O_RDWR)); }), EACCES);
  EXPECT_EQ(caged([] { return error_of(open("/proc/self/maps", O_RDONLY)); }), 0);
}

TEST_F(CageTest, AFileItNeedsIsReadAndNotWritten) {
  const std::string file = directory_ / "file";
  needs_.paths = {{file, FileRights::read}};
  EXPECT_EQ(caged([&] { return error_of(open(file.c_str(), O_RDONLY)); }), 0);
  EXPECT_EQ(caged([&] { return error_of(open(file.c_str(), O_WRONLY)); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(truncate(file.c_str(), 0)); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(unlink(file.c_str())); }), EACCES);
  EXPECT_EQ(fs::file_size(file), 4u);
}

TEST_F(CageTest, AnInheritedFileIsOpenedAgainForReadingOnly) {
  const int fd = open((directory_ / "file").c_str(), O_RDONLY | O_CLOEXEC);
  const std::string again = "/proc/self/fd/" + std::to_string(fd);
  needs_.files = {fd};
  EXPECT_EQ(caged([&] { return error_of(open(again.c_str(), O_RDONLY)); }), 0);
  EXPECT_EQ(caged([&] { return error_of(open(again.c_str(), O_RDWR)); }), EACCES);
  close(fd);
}

TEST_F(CageTest, FaultsOfTheKernelAreTakenByTheDeviceItWasGivenAlone) {
  const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) GTEST_SKIP() << "no access to /dev/userfaultfd";
  EXPECT_EQ(caged([&] { return error_of(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC)); }), 0);
  close(device);
  EXPECT_EQ(caged([] { return error_of(open("/dev/userfaultfd", O_RDWR)); }), EACCES);
  EXPECT_EQ(caged([] { return error_of(syscall(SYS_userfaultfd, 0)); }), EPERM);
}

TEST_F(CageTest, OnlyTheScratchDirectoryIsWritten) {
  const fs::path scratch = directory_ / "scratch", outside = directory_ / "outside";
  for (const fs::path& place : {scratch, outside}) {
    fs::create_directory(place);
    chmod(place.c_str(), 0777);
  }
  needs_.paths = {{scratch, FileRights::scratch}};
  const auto make = [](const fs::path& file) {
    return error_of(open(file.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  };
  EXPECT_EQ(caged([&] { return make(scratch / "overlay"); }), 0);
  EXPECT_EQ(caged([&] { return error_of(unlink((scratch / "overlay").c_str())); }), 0);
  EXPECT_EQ(caged([&] { return make(outside / "overlay"); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(mkdir((scratch / "directory").c_str(), 0700)); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(symlink("/etc", (scratch / "link").c_str())); }), EACCES);
  EXPECT_EQ(caged([&] { return error_of(mknod((scratch / "pipe").c_str(), S_IFIFO, 0)); }), EACCES);
}

TEST_F(CageTest, NothingIsReachedByNetwork) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_VSOCK})
    EXPECT_EQ(caged([&] { return error_of(socket(family, SOCK_STREAM, 0)); }), EPERM) << family;
  // Even with a socket from elsewhere.
  const int socket_before = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  EXPECT_EQ(caged([&] { return error_of(connect(socket_before, at, sizeof address)); }), EPERM);
  EXPECT_EQ(caged([&] { return error_of(bind(socket_before, at, sizeof address)); }), EPERM);
  close(socket_before);
  EXPECT_EQ(caged([] { return error_of(syscall(SYS_io_uring_setup, 1, nullptr)); }), EPERM);
}

TEST_F(CageTest, ItsNamespacesAreItsOwn) {
  for (const char* name : {"net", "pid", "ipc"}) {
    const std::string path = std::string("/proc/self/ns/") + name;
    struct stat ours{};
    ASSERT_EQ(stat(path.c_str(), &ours), 0);
    EXPECT_EQ(caged([&] {
                struct stat theirs{};
                return stat(path.c_str(), &theirs) == 0 && theirs.st_ino != ours.st_ino ? 0 : 1;
              }),
              0)
        << name;
  }
  EXPECT_EQ(caged([] { return static_cast<int>(getpid()); }), 1);
}

TEST_F(CageTest, OtherProcessesAreNotTouched) {
  const pid_t other = getpid();
  std::byte byte{};
  const iovec local{.iov_base = &byte, .iov_len = 1}, remote = local;
  EXPECT_EQ(caged([&] { return error_of(kill(other, 0)); }), ESRCH);
  EXPECT_EQ(caged([&] { return error_of(ptrace(PTRACE_ATTACH, other, nullptr, nullptr)); }), EPERM);
  EXPECT_EQ(caged([&] {
              return error_of(syscall(SYS_process_vm_writev, other, &local, 1, &remote, 1, 0));
            }),
            EPERM);
  EXPECT_EQ(caged([&] { return error_of(syscall(SYS_pidfd_open, other, 0)); }), EPERM);
  const std::string memory = "/proc/" + std::to_string(other) + "/mem";
  EXPECT_EQ(caged([&] { return error_of(open(memory.c_str(), O_RDWR)); }), EACCES);
}

TEST_F(CageTest, NoWayToMoreRights) {
  EXPECT_EQ(caged([] { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }), 1);
  EXPECT_EQ(caged([] {
              int left = 0;
              for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; ++c)
                left += prctl(PR_CAPBSET_READ, c);
              return left;
            }),
            0);
  EXPECT_EQ(caged([] { return error_of(unshare(CLONE_NEWUSER)); }), EPERM);
  EXPECT_EQ(caged([] { return error_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)); }),
            EPERM);
  EXPECT_EQ(caged([] { return error_of(mount("none", "/mnt", "tmpfs", 0, nullptr)); }), EPERM);
  EXPECT_EQ(caged([] { return error_of(chroot("/usr")); }), EPERM);
  EXPECT_EQ(caged([] { return error_of(syscall(SYS_bpf, 0, nullptr, 0)); }), EPERM);
  EXPECT_EQ(caged([] { return error_of(setuid(0)); }), geteuid() == 0 ? EPERM : EINVAL);
}

TEST_F(CageTest, RootBecomesAUserOfItsOwn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const auto first = Cage::prepare({}), second = Cage::prepare({});
  ASSERT_TRUE(first && first->user() && second && second->user());
  EXPECT_NE(first->user(), second->user());
  EXPECT_GE(*first->user(), OwnUser::kFirst);
  EXPECT_LE(*first->user(), OwnUser::kLast);
  EXPECT_EQ(caged([] {
              uid_t real = 0, effective = 0, saved = 0;
              getresuid(&real, &effective, &saved);
              const bool one = real == effective && effective == saved && getgid() == real;
              return one && real >= OwnUser::kFirst && getgroups(0, nullptr) == 0 ? 0 : 1;
            }),
            0);
  const int secret = open((directory_ / "secret").c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  needs_.files = {secret};
  const std::string again = "/proc/self/fd/" + std::to_string(secret);
  EXPECT_EQ(caged([&] { return error_of(open(again.c_str(), O_RDONLY)); }), EACCES);
  close(secret);
}

TEST_F(CageTest, SaysThatItKeepsTheUser) {
  if (geteuid() != 0) GTEST_SKIP() << "others keep theirs in a namespace of its own";
  const auto cage = Cage::prepare({.paths = {}, .files = {}, .keeps_user = true});
  ASSERT_TRUE(cage);
  EXPECT_EQ(cage->user(), std::nullopt);
  EXPECT_THAT(cage->missing(0), testing::ElementsAre("user of its own"));
}

TEST_F(CageTest, ResourcesAreLimited) {
  const auto limit_of = [this](auto resource) {
    return caged([=] {
      rlimit limit{};
      getrlimit(resource, &limit);
      return static_cast<int>(limit.rlim_max / 8);
    });
  };
  EXPECT_EQ(limit_of(RLIMIT_CORE), 0);
  EXPECT_EQ(limit_of(RLIMIT_NOFILE), 1024 / 8);
  EXPECT_EQ(limit_of(RLIMIT_MEMLOCK), 0);
  if (geteuid() == 0) {
    EXPECT_EQ(limit_of(RLIMIT_NPROC), 512 / 8);
  }
  EXPECT_EQ(caged([] {
              const int fd = open("/proc/self/oom_score_adj", O_RDONLY);
              char text[8] = {};
              return read(fd, text, sizeof text) > 0 ? atoi(text) / 10 : 0;
            }),
            50);
}

}  // namespace
}  // namespace glasshook::confinement
