// What QEMU can do to its host, told to do it: by QMP, whose commands are what somebody who has
// taken QEMU over could do himself. QEMU is a real one that never runs a guest.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "machine/qemu_files.h"
#include "machine/vm.h"
#include "scratch.h"

namespace glasshook::machine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class QemuCageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (find_program(config_.qemu).empty()) GTEST_SKIP() << "needs QEMU";
    config_.channel = false;
    config_.memory_mib = 16;
    config_.disks = {{scratch_.write("disk.raw", std::string(1 << 20, 'd'))}};
    config_.console_log = scratch_.path() / "console";
    secret_ = scratch_.write("secret", std::string(1 << 16, 's'));
    auto machine = Machine::start(config_, std::nullopt, soon());
    ASSERT_TRUE(machine) << machine.error().message;
    machine_ = std::move(*machine);
  }

  /// QEMU's refusal; empty when it obeyed.
  std::string refusal(std::string_view command, std::string_view arguments) {
    const auto done = machine_->qmp().execute(command, arguments, soon());
    return done ? "" : done.error().message;
  }
  std::string open_disk(const fs::path& file, bool read_only) {
    return refusal("blockdev-add",
                   fmt::format(R"({{"driver":"file","filename":{},"node-name":"n{}",)"
                               R"("read-only":{}}})",
                               json_quoted(file.native()), ++nodes_, read_only));
  }

  Scratch scratch_;
  MachineConfig config_;
  fs::path secret_;
  std::unique_ptr<Machine> machine_;
  int nodes_ = 0;
};

TEST_F(QemuCageTest, NoWallIsMissing) { EXPECT_THAT(machine_->missing_walls(), IsEmpty()); }

TEST_F(QemuCageTest, ReadsNoFileButItsOwn) {
  EXPECT_THAT(open_disk(secret_, true), HasSubstr("Permission denied"));
  EXPECT_THAT(open_disk("/etc/passwd", true), HasSubstr("Permission denied"));
  EXPECT_THAT(open_disk(config_.disks[0].file, false), HasSubstr("Permission denied"));
  EXPECT_EQ(open_disk("/dev/fdset/4", true), "");
}

TEST_F(QemuCageTest, WritesNoFile) {
  const fs::path made = scratch_.path() / "made";
  const auto chardev = [](const fs::path& file) {
    return fmt::format(R"({{"id":"c","backend":{{"type":"file","data":{{"out":{}}}}}}})",
                       json_quoted(file.native()));
  };
  for (const fs::path& file : {made, fs::path("/var/tmp/made"), fs::path("/tmp/made")}) {
    EXPECT_THAT(refusal("chardev-add", chardev(file)), HasSubstr("Permission denied")) << file;
    EXPECT_NE(refusal("pmemsave", fmt::format(R"({{"val":0,"size":4096,"filename":{}}})",
                                              json_quoted(file.native()))),
              "")
        << file;
    EXPECT_FALSE(fs::exists(file)) << file;
  }
}

TEST_F(QemuCageTest, ConnectsToNothing) {
  for (const char* address : {R"({"type":"inet","data":{"host":"127.0.0.1","port":"9"}})",
                              R"({"type":"unix","data":{"path":"/run/dbus/system_bus_socket"}})"})
    EXPECT_THAT(
        refusal("chardev-add", fmt::format(R"({{"id":"c","backend":{{"type":"socket","data":)"
                                           R"({{"addr":{},"server":false}}}}}})",
                                           address)),
        HasSubstr("Operation not permitted"))
        << address;
}

TEST_F(QemuCageTest, ItsConsoleLogIsKeptAndItsScratchDirectoryIsGone) {
  EXPECT_TRUE(fs::exists(config_.console_log));
  std::ifstream variables(fmt::format("/proc/{}/environ", machine_->pid()), std::ios::binary);
  for (std::string variable; std::getline(variables, variable, '\0');) {
    if (!variable.starts_with("TMPDIR=")) continue;
    EXPECT_THAT(variable, HasSubstr("/glasshook."));
    EXPECT_FALSE(fs::exists(variable.substr(7)));
    return;
  }
  FAIL() << "QEMU has no directory of its own";
}

TEST_F(QemuCageTest, SavesAndRestoresByDescriptorsAlone) {
  const fs::path file = scratch_.path() / "snapshot";
  ASSERT_TRUE(machine_->save_snapshot(file, soon()));
  machine_->quit(soon());
  EXPECT_GT(fs::file_size(file), 0u);
  const auto again = Machine::start(config_, file, soon());
  EXPECT_TRUE(again) << again.error().message;
}

TEST_F(QemuCageTest, EndsWithWhoStartedIt) {
  std::array<int, 2> pipe{-1, -1};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const pid_t monitor = ::fork();
  if (monitor == 0) {
    const auto vm = Machine::start(config_, std::nullopt, soon());
    const pid_t qemu = vm ? (*vm)->pid() : -1;
    if (::write(pipe[1], &qemu, sizeof qemu) != sizeof qemu) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(pipe[1]);
  pid_t qemu = -1;
  ASSERT_EQ(::read(pipe[0], &qemu, sizeof qemu), static_cast<ssize_t>(sizeof qemu));
  ::close(pipe[0]);
  ASSERT_GT(qemu, 0);
  ::waitpid(monitor, nullptr, 0);
  const auto runs = [&] {
    std::ifstream status(fmt::format("/proc/{}/stat", qemu));
    std::string id, name, state;
    return status >> id >> name >> state && state != "Z" && state != "X";
  };
  for (const Deadline deadline = soon(); runs() && Clock::now() < deadline;) ::usleep(1000);
  EXPECT_FALSE(runs());
}

TEST(QemuFiles, AnImageAndWhatItIsADifferenceTo) {
  const Scratch scratch;
  const auto qcow2 = [](std::string_view backing) {
    std::string image("QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x20\0\0\0", 19);
    image += static_cast<char>(backing.size());
    image.resize(32, '\0');
    return image += backing;
  };
  const auto base = scratch.write("base.raw", "raw");
  const auto middle = scratch.write("middle.qcow2", qcow2("base.raw"));
  const auto top = scratch.write("top.qcow2", qcow2("file:" + middle.native()));
  EXPECT_THAT(disk_chain(top), ElementsAre(top, middle, base));
  EXPECT_THAT(disk_chain(base), ElementsAre(base));
  const auto loop = scratch.write("loop.qcow2", qcow2("loop.qcow2"));
  EXPECT_LE(disk_chain(loop).size(), 32u);
  EXPECT_THAT(disk_chain(scratch.write("short.qcow2", "QFI\xfb")), ::testing::SizeIs(1));
}

TEST(QemuFiles, PublicIsWhatEveryUserMayOpen) {
  const Scratch scratch;
  EXPECT_TRUE(is_public("/usr/bin/env"));
  EXPECT_TRUE(is_public("/tmp"));
  EXPECT_FALSE(is_public("/no/such/file"));
  const auto file = scratch.write("file", "text", 0644);
  EXPECT_FALSE(is_public(file)) << "its directory is not";
  fs::permissions(scratch.path(), fs::perms(0711));
  EXPECT_TRUE(is_public(file));
  fs::permissions(file, fs::perms(0640));
  EXPECT_FALSE(is_public(file));
}

}  // namespace
}  // namespace glasshook::machine
