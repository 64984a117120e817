#include "machine/vm.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>

#include "machine/kvm_check.h"
#include "scratch.h"

namespace glasshook::machine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// The value after the first `option`; empty when it is not there.
std::string value_of(const std::vector<std::string>& args, std::string_view option) {
  const auto at = std::ranges::find(args, option);
  return at == args.end() || at + 1 == args.end() ? "" : *(at + 1);
}

MachineConfig sample() {
  MachineConfig config;
  config.kernel = "/images/vmlinuz";
  config.initrd = "/images/initrd";
  config.append = "quiet a,b";
  config.disks = {{"/images/odd,name.qcow2", "qcow2"}};
  return config;
}

TEST(QemuArguments, DescribeTheMachine) {
  const MachineFds fds{.qmp = 7, .delivery = 8, .ports = {9, 10, 11}};
  const auto args = qemu_arguments(sample(), fds, false);
  EXPECT_EQ(args[0], "qemu-system-x86_64");
  EXPECT_THAT(args, Contains("-S"));
  EXPECT_THAT(args, Contains("-nodefaults"));
  EXPECT_EQ(value_of(args, "-accel"), "tcg,thread=multi");
  EXPECT_EQ(value_of(args, "-kernel"), "/images/vmlinuz");
  EXPECT_EQ(value_of(args, "-append"), "quiet a,b");
  EXPECT_EQ(value_of(args, "-m"), "512M");
  EXPECT_EQ(value_of(args, "-object"), "memory-backend-memfd,id=ram,size=512M,share=on");
  EXPECT_EQ(value_of(args, "-drive"),
            "if=none,id=disk0,file=/images/odd,,name.qcow2,format=qcow2,snapshot=on,cache=unsafe");
  EXPECT_THAT(args, Contains("socket,id=qmp,fd=7"));
  EXPECT_THAT(args, Contains("fd=8,set=1"));
  EXPECT_THAT(args, Contains("socket,id=stderr,fd=11"));
  EXPECT_THAT(args, Contains("virtserialport,nr=3,chardev=stderr,name=stderr"));
  EXPECT_THAT(value_of(args, "-sandbox"), HasSubstr("spawn=deny"));
  EXPECT_THAT(args, Not(Contains("-incoming")));
  EXPECT_THAT(args, Not(Contains("-plugin")));
}

TEST(QemuArguments, FollowTheConfiguration) {
  MachineConfig config = sample();
  config.smp = 4;
  config.memory_mib = 6144;
  config.channel = false;
  config.plugin = "/lib/plug,in.so";
  config.extra_arguments = {"-device", "virtio-rng-pci"};
  const auto args = qemu_arguments(config,
                                   MachineFds{.qmp = 3,
                                              .probe = 20,
                                              .kernel = 21,
                                              .initrd = 22,
                                              .plugin = 23,
                                              .console = 24,
                                              .snapshot = 25,
                                              .disks = {26}},
                                   true);
  EXPECT_EQ(value_of(args, "-accel"), "tcg,thread=multi");
  EXPECT_EQ(value_of(args, "-smp"), "4");
  EXPECT_EQ(value_of(args, "-object"), "memory-backend-memfd,id=ram,size=6144M,share=on");
  EXPECT_EQ(value_of(args, "-plugin"), "file=/proc/self/fd/23,fd=20");
  EXPECT_EQ(value_of(args, "-kernel"), "/proc/self/fd/21");
  EXPECT_EQ(value_of(args, "-initrd"), "/proc/self/fd/22");
  EXPECT_EQ(value_of(args, "-incoming"), "defer");
  EXPECT_THAT(args, Contains("fd=24,set=2"));
  EXPECT_THAT(args, Contains("file,id=console,path=/dev/fdset/2"));
  EXPECT_THAT(args, Contains("fd=25,set=3"));
  EXPECT_EQ(incoming_uri(), "file:/dev/fdset/3");
  EXPECT_THAT(args, Contains("fd=26,set=4"));
  EXPECT_THAT(value_of(args, "-drive"), HasSubstr("file=/dev/fdset/4,"));
  EXPECT_THAT(args, Contains("virtio-rng-pci"));
  EXPECT_THAT(args, Not(Contains("socket,id=stderr,fd=-1")));
}

TEST(QemuArguments, UnderKvmTheLibraryIsInTheEnvironment) {
  MachineConfig config = sample();
  config.plugin = "/lib/library.so";
  MachineFds fds{.qmp = 3, .probe = 9};
  EXPECT_TRUE(qemu_environment(config, fds).empty());
  config.accelerator = Accelerator::kvm;
  const auto args = qemu_arguments(config, fds, false);
  EXPECT_EQ(value_of(args, "-accel"), "kvm");
  EXPECT_THAT(args, Not(Contains("-plugin")));
  EXPECT_THAT(qemu_environment(config, fds),
              ElementsAre("LD_PRELOAD=/lib/library.so", "GLASSHOOK_KVM=fd=9"));
  fds.userfaultfd = 12;
  EXPECT_THAT(qemu_environment(config, fds), Contains("GLASSHOOK_KVM=fd=9,userfaultfd=12"));
  fds.plugin = 11;
  EXPECT_THAT(qemu_environment(config, fds), Contains("LD_PRELOAD=/proc/self/fd/11"));
}

TEST(SnapshotIdentity, ChangesWithWhatTheGuestSeesOnly) {
  const Scratch scratch;
  MachineConfig config = sample();
  config.qemu = scratch.write("qemu", "#!/bin/sh\n", 0755);
  const auto first = snapshot_identity(config);
  ASSERT_TRUE(first) << first.error().message;
  MachineConfig same = config;
  same.plugin = "/plugin.so";
  same.console_log = "/tmp/log";
  EXPECT_EQ(snapshot_identity(same).value_or(""), *first);
  MachineConfig other = config;
  other.memory_mib = 1024;
  EXPECT_NE(snapshot_identity(other).value_or(*first), *first);
  other = config;
  other.append += " nokaslr";
  EXPECT_NE(snapshot_identity(other).value_or(*first), *first);
  scratch.write("qemu", "#!/bin/sh\n# another version\n", 0755);
  EXPECT_NE(snapshot_identity(config).value_or(*first), *first);
  config.qemu = "/no/such/qemu";
  const auto missing = snapshot_identity(config);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
}

/// A machine whose QEMU is a shell script.
class FakeMachineTest : public ::testing::Test {
 protected:
  /// `script` may use $qmp, the number of the QMP descriptor.
  MachineConfig config(std::string_view script) const {
    MachineConfig config;
    config.channel = false;
    config.qemu =
        scratch_.write("qemu",
                       fmt::format("#!/bin/bash\nqmp=$(grep -ao 'socket,id=qmp,fd=[0-9]*' "
                                   "<<<\"$*\" | grep -o '[0-9]*$')\n{}\n",
                                   script),
                       0755);
    return config;
  }
  Scratch scratch_;
};

TEST_F(FakeMachineTest, SaysWhyQemuDidNotStart) {
  const auto machine =
      Machine::start(config("echo 'qemu: no such machine' >&2; exit 1"), std::nullopt, soon());
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code, ErrorCode::closed);
  EXPECT_THAT(machine.error().message, HasSubstr("exit status 1"));
  EXPECT_THAT(machine.error().message, HasSubstr("no such machine"));
}

TEST_F(FakeMachineTest, TheLibraryForKvmIsGivenADeviceThatQemuMayNotOpen) {
  if (!open_userfaultfd()) GTEST_SKIP() << "nor may this process";
  MachineConfig watched = config(
      "echo given $(readlink /proc/self/fd/${GLASSHOOK_KVM##*,userfaultfd=}) >&2; "
      "true 9<>/dev/userfaultfd; exit 1");
  watched.accelerator = Accelerator::kvm;
  watched.plugin = scratch_.write("library.so", "");
  watched.probe = true;
  const auto said = [&] { return Machine::start(watched, std::nullopt, soon()).error().message; };
  EXPECT_THAT(said(), Not(HasSubstr("given /dev/userfaultfd")));
  watched.userfaultfd = true;
  EXPECT_THAT(said(), HasSubstr("given /dev/userfaultfd"));
  EXPECT_THAT(said(), HasSubstr("/dev/userfaultfd: Permission denied"));
}

TEST_F(FakeMachineTest, AQemuThatSaysNothingIsATimeout) {
  const auto machine =
      Machine::start(config("sleep 1000"), std::nullopt, in(std::chrono::milliseconds(50)));
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code, ErrorCode::timeout);
}

TEST_F(FakeMachineTest, NamesAFileThatIsMissing) {
  MachineConfig missing = config("exit 0");
  missing.disks = {{"/no/such/disk.raw"}};
  const auto machine = Machine::start(missing, std::nullopt, soon());
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code, ErrorCode::not_found);
  EXPECT_THAT(machine.error().message, HasSubstr("/no/such/disk.raw"));
}

constexpr std::string_view kConversation = R"(
say() { printf '%s\r\n' "$1" >&$qmp; }
say '{"QMP": {}}'
while read -r line <&$qmp; do
  id=$(sed 's/.*"id":\([0-9]*\).*/\1/' <<<"$line")
  case $line in
    *query-migrate*) say "{\"return\": {\"status\": \"$state\", \"error-desc\": \"disk full\"}, \"id\": $id}" ;;
    *add-fd*) say "{\"return\": {\"fdset-id\": 7}, \"id\": $id}" ;;
    *quit*) say "{\"return\": {}, \"id\": $id}"; exit 0 ;;
    *) say "{\"return\": {}, \"id\": $id}" ;;
  esac
done)";

TEST_F(FakeMachineTest, StartsResumesSavesAndQuits) {
  auto machine =
      Machine::start(config(fmt::format("state=completed{}", kConversation)), std::nullopt, soon());
  ASSERT_TRUE(machine) << machine.error().message;
  EXPECT_TRUE((*machine)->resume(soon()));
  EXPECT_TRUE((*machine)->pause(soon()));
  EXPECT_TRUE((*machine)->save_snapshot(scratch_.path() / "snapshot", soon()));
  EXPECT_FALSE((*machine)->take_port(Port::control).valid());
  (*machine)->quit(soon());
  const auto status = (*machine)->wait_exit(soon());
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->success());
}

TEST_F(FakeMachineTest, ReportsASnapshotThatFails) {
  auto machine =
      Machine::start(config(fmt::format("state=failed{}", kConversation)), std::nullopt, soon());
  ASSERT_TRUE(machine) << machine.error().message;
  const auto saved = (*machine)->save_snapshot(scratch_.path() / "snapshot", soon());
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("disk full"));
}

TEST_F(FakeMachineTest, NoticesThatQemuWasKilled) {
  auto machine = Machine::start(
      config("printf '{\"QMP\": {}}\\r\\n' >&$qmp; read -r line <&$qmp; "
             "printf '{\"return\": {}, \"id\": 1}\\r\\n' >&$qmp; read -r line <&$qmp; sleep 1000"),
      std::nullopt, soon());
  ASSERT_TRUE(machine) << machine.error().message;
  ASSERT_EQ(::kill((*machine)->pid(), SIGKILL), 0);
  const auto resumed = (*machine)->resume(soon());
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().code, ErrorCode::closed);
  EXPECT_THAT(resumed.error().message, HasSubstr("signal 9"));
}

}  // namespace
}  // namespace glasshook::machine
