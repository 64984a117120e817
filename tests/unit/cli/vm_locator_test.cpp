#include "cli/vm_locator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"
#include "machine/process.h"

namespace glasshook::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A directory that looks like /proc, and sockets.
class VmLocator : public ::testing::Test {
 protected:
  void add_process(pid_t pid, const std::vector<std::string>& arguments) const {
    const fs::path directory = proc() / std::to_string(pid);
    fs::create_directories(directory);
    fs::create_symlink(root_.path(), directory / "cwd");
    std::ofstream file(directory / "cmdline", std::ios::binary);
    for (const std::string& argument : arguments) file << argument << '\0';
  }

  /// Listens on a new socket of that type.
  fs::path listen_at(const char* name, int type) {
    const fs::path path = root_.path() / name;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.native().copy(address.sun_path, sizeof address.sun_path - 1);
    fd_.reset(::socket(AF_UNIX, type, 0));
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_.get(), 1), 0);
    return path;
  }

  [[nodiscard]] fs::path proc() const { return root_.path() / "proc"; }

  machine::TempDir root_ = machine::TempDir::create().value();
  UniqueFd fd_;
};

const std::vector<std::string> kQemu{"qemu-system-x86_64", "-plugin",
                                     "/x/libglasshook-qemu.so,ring=4,socket=/run/a,,b.sock"};

TEST(PluginSocket, IsFoundInEveryForm) {
  EXPECT_EQ(plugin_socket(kQemu, "/"), "/run/a,b.sock");
  EXPECT_EQ(plugin_socket({"q", "--plugin", "file=/x/libglasshook-qemu.so,socket=s"}, "/home/u"),
            "/home/u/s");
}

TEST(PluginSocket, IsEmptyForOthers) {
  EXPECT_EQ(plugin_socket({}, "/"), "");
  EXPECT_EQ(plugin_socket({"qemu", "-plugin"}, "/"), "");
  EXPECT_EQ(plugin_socket({"qemu", "-plugin", "libhotpages.so,socket=/s"}, "/"), "");
  EXPECT_EQ(plugin_socket({"qemu", "-plugin", "libglasshook-qemu.so"}, "/"), "");
  EXPECT_EQ(plugin_socket({"qemu", "-plugin", "libglasshook-qemu.so,socket="}, "/"), "");
  EXPECT_EQ(plugin_socket({"vi", "libglasshook-qemu.so,socket=/s"}, "/"), "");
}

TEST(LibrarySocket, IsInTheEnvironmentOfAQemuWithTheLibrary) {
  const std::string preload = "LD_PRELOAD=/x/other.so:/x/libglasshook-kvm.so";
  EXPECT_EQ(library_socket({preload, "GLASSHOOK_KVM=ring=4,socket=a.sock"}, "/run"), "/run/a.sock");
  EXPECT_EQ(library_socket({"GLASSHOOK_KVM=socket=/s,ring=4", preload}, "/run"), "/s");
  EXPECT_EQ(library_socket({"GLASSHOOK_KVM=socket=/s", "LD_PRELOAD=/x/other.so"}, "/"), "");
  EXPECT_EQ(library_socket({preload, "GLASSHOOK_KVM=ring=4"}, "/"), "");
  EXPECT_EQ(library_socket({preload}, "/"), "");
}

TEST_F(VmLocator, AProcessThatOnlyStartedQemuIsNoVm) {
  for (const auto& [pid, program] : {std::pair{40, "sh"}, {41, "qemu-system-x86_64"}}) {
    add_process(pid, {program});
    const fs::path directory = proc() / std::to_string(pid);
    fs::create_symlink(fs::path("/usr/bin") / program, directory / "exe");
    std::ofstream(directory / "environ", std::ios::binary)
        << "LD_PRELOAD=/x/libglasshook-kvm.so" << '\0' << "GLASSHOOK_KVM=socket=s" << '\0';
  }
  const auto vms = running_vms(proc());
  ASSERT_EQ(vms.size(), 1u);
  EXPECT_EQ(vms[0].qemu, 41);
  EXPECT_EQ(vms[0].socket, root_.path() / "s");
}

TEST_F(VmLocator, TakesTheOnlyVm) {
  add_process(1, {"init"});
  add_process(40, kQemu);
  EXPECT_EQ(locate_vm("", proc()), "/run/a,b.sock");
  EXPECT_EQ(locate_vm("40", proc()), "/run/a,b.sock");
}

TEST_F(VmLocator, AsksWhichWhenThereAreSeveral) {
  add_process(40, kQemu);
  add_process(41, kQemu);
  const auto found = locate_vm("", proc());
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, HasSubstr("40 (/run/a,b.sock), 41"));
}

TEST_F(VmLocator, SaysWhatIsWrongWithAProcess) {
  add_process(1, {"init"});
  EXPECT_THAT(locate_vm("", proc()).error().message, HasSubstr("no VM"));
  EXPECT_THAT(locate_vm("1", proc()).error().message, HasSubstr("process 1 is no QEMU"));
  EXPECT_THAT(locate_vm("99", proc()).error().message, HasSubstr("no process 99"));
}

TEST_F(VmLocator, TakesThePluginsSocketAsItIs) {
  const fs::path socket = listen_at("probe", SOCK_SEQPACKET);
  EXPECT_EQ(locate_vm(socket.native(), proc()), socket);
}

TEST_F(VmLocator, FollowsAQmpSocketToItsProcess) {
  const fs::path qmp = listen_at("qmp", SOCK_STREAM);
  add_process(::getpid(), kQemu);
  EXPECT_EQ(locate_vm(qmp.native(), proc()), "/run/a,b.sock");
}

TEST_F(VmLocator, SaysWhatIsWrongWithAPath) {
  std::ofstream(root_.path() / "file") << "x";
  EXPECT_THAT(locate_vm((root_.path() / "file").native(), proc()).error().message,
              HasSubstr("is no socket"));
  EXPECT_THAT(locate_vm("/nonexistent/x", proc()).error().message, HasSubstr("no such file"));
  const fs::path dead = listen_at("dead", SOCK_STREAM);
  fd_.reset();
  EXPECT_THAT(locate_vm(dead.native(), proc()).error().message, HasSubstr("nothing answers"));
}

}  // namespace
}  // namespace glasshook::cli
