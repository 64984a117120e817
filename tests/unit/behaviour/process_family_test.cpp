#include <gmock/gmock.h>

#include "behaviour/fake_guest.h"
#include "behaviour/process/capabilities.h"
#include "behaviour/process/environment.h"
#include "behaviour/support.h"

namespace glasshook::behaviour {
namespace {

using namespace testing;
using ::testing::ElementsAre;

std::vector<Captured> exec_of(std::string path, std::string arguments) {
  return {{"filename", path},
          {"interpreter", path},
          {"executable", path},
          {"directory", "/root"},
          {"name", "prog"},
          {"uid", 1000},
          {"euid", 1000},
          {"links", 1},
          {"control_groups", 0xc9},
          {"arguments", std::move(arguments)},
          {"environment", std::string("HOME=/root\0LD_PRELOAD=/tmp/x.so\0", 31)}};
}

TEST(ProcessFamily, ForkTellsOfTheChild) {
  FakeGuest guest("process");
  guest.call("wake_up_new_task", false, {.process = make_process(10)},
             {{"task", 0xf00},
              {"pid", 11},
              {"start", 777},
              {"mm", 1},
              {"own_mm", 2},
              {"namespaces", 5},
              {"own_namespaces", 5},
              {"namespace_pid", 3},
              {"control_groups", 0xc9}});
  const Event event = guest.only();
  EXPECT_EQ(event.action, "process_started");
  EXPECT_EQ(event.process->namespace_pid, 3u);
  EXPECT_EQ(event.process->pid, 11u);
  EXPECT_EQ(event.process->start_time, 777u);
  EXPECT_EQ(event.process->parent->pid, 10u);
  EXPECT_EQ(event.thread_id, 11u);
  EXPECT_TRUE(event.fields.empty());
}

TEST(ProcessFamily, VforkAndNewNamespacesAreSaid) {
  FakeGuest guest("process");
  guest.call("wake_up_new_task", false, {.process = make_process(10)},
             {{"pid", 11}, {"mm", 1}, {"own_mm", 1}, {"namespaces", 6}, {"own_namespaces", 5}});
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.clone.shares_memory"), "true");
  EXPECT_EQ(text_of(event, "glasshook.clone.new_namespaces"), "true");
}

TEST(ProcessFamily, ContainersAreReadAtForkExecAndMove) {
  FakeGuest guest("process");
  guest.containers[0xc9] = "abc";
  guest.containers[0xd0] = "";
  const Captured in{"control_groups", 0xc9}, out{"control_groups", 0xd0};
  const auto fork = [&](const Captured& groups, const std::shared_ptr<const Process>& parent) {
    guest.call("wake_up_new_task", false, {.process = parent}, {{"pid", 11}, groups});
    return guest.only().process;
  };
  const auto inside = fork(in, make_process(10));
  EXPECT_EQ(inside->container_id, "abc");
  EXPECT_EQ(fork(out, inside)->container_id, "") << "what the kernel says, not the parent";
  EXPECT_EQ(fork({"control_groups", 0xbad}, inside)->container_id, "abc") << "else the parent";

  guest.call("finalize_exec", false, {.process = make_process(10)},
             exec_of("/bin/ls", std::string("ls\0", 3)));
  EXPECT_EQ(guest.only().process->container_id, "abc");

  guest.call("css_set_move_task", false, {.process = make_process(10)},
             {{"pid", 12}, {"start", 777}, in});
  EXPECT_EQ(guest.moved, "12 777 abc");
  EXPECT_TRUE(guest.events.empty());
}

TEST(ProcessFamily, ExecReadsArgumentsAndEnvironment) {
  FakeGuest guest("process");
  guest.call("finalize_exec", false, {.process = make_process(10)},
             exec_of("/bin/ls", std::string("ls\0-l\0\0a b\0", 11)));
  const Event event = guest.only();
  EXPECT_EQ(event.action, "process_executed");
  EXPECT_EQ(event.process->executable, "/bin/ls");
  EXPECT_THAT(event.process->arguments, ElementsAre("ls", "-l", "", "a b"));
  EXPECT_EQ(event.process->working_directory, "/root");
  EXPECT_EQ(event.process->user_id, 1000u);
  EXPECT_EQ(text_of(event, "glasshook.exec.environment_hash").size(), 16u);
  EXPECT_EQ(text_of(event, "process.env_vars"), "LD_PRELOAD=/tmp/x.so");
  EXPECT_EQ(event.find("glasshook.exec.filename"), nullptr);
  EXPECT_EQ(event.find("glasshook.exec.arguments_truncated"), nullptr);
}

TEST(ProcessFamily, ScriptsAndSetuidProgramsAreSaid) {
  FakeGuest guest("process");
  auto captured = exec_of("/bin/sh", std::string("sh\0./run\0", 9));
  captured[0] = {"filename", "./run"};
  captured[6] = {"euid", 0};
  guest.call("finalize_exec", false, {.process = make_process(10)}, captured);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.exec.filename"), "./run");
  EXPECT_EQ(text_of(event, "glasshook.exec.interpreter"), "/bin/sh");
  EXPECT_EQ(text_of(event, "user.effective.id"), "0");
}

TEST(ProcessFamily, CutArgumentsAreSaid) {
  FakeGuest guest("process");
  auto captured = exec_of("/bin/echo", "");
  captured[9] = {"arguments", std::string("echo\0aaaaaa", 11), capture::kFieldTruncated};
  guest.call("finalize_exec", false, {.process = make_process(10)}, captured);
  const Event event = guest.only();
  EXPECT_THAT(event.process->arguments, ElementsAre("echo", "aaaaaa"));
  EXPECT_EQ(text_of(event, "glasshook.exec.arguments_truncated"), "true");
}

TEST(ProcessFamily, ExecutionFromAMemoryFile) {
  FakeGuest guest("process");
  auto captured = exec_of("memfd:payload", std::string("x\0", 2));
  captured[7] = {"links", 0};
  guest.call("finalize_exec", false, {.process = make_process(10)}, captured);
  ASSERT_EQ(guest.events.size(), 2u);
  EXPECT_EQ(text_of(guest.events[0], "glasshook.exec.deleted"), "true");
  EXPECT_EQ(guest.events[1].action, "process_executed_from_memory");
  EXPECT_EQ(text_of(guest.events[1], "file.path"), "/memfd:payload");
  EXPECT_EQ(guest.events[0].process->executable, "/memfd:payload");
  guest.events.clear();

  captured[7] = {"links", 1};  // a file of that name on a disk
  guest.call("finalize_exec", false, {.process = make_process(10)}, captured);
  EXPECT_THAT(guest.actions(), ElementsAre("process_executed"));
}

TEST(ProcessFamily, ExecSurvivesAnEmptyRecord) {
  FakeGuest guest("process");
  guest.call("finalize_exec", false, {.process = nullptr}, {});
  const Event event = guest.only();
  EXPECT_TRUE(event.process->arguments.empty());
  EXPECT_EQ(event.find("glasshook.exec.deleted"), nullptr);
  EXPECT_EQ(text_of(event, "glasshook.exec.arguments_truncated"), "true");
}

TEST(ProcessFamily, ExitCodesAndSignals) {
  FakeGuest guest("process");
  const Caller caller{.process = make_process(10)};
  guest.call("taskstats_exit", false, caller,
             {{"flags", 4}, {"group_code", 0x300}, {"leader_code", 0x900}});
  Event event = guest.only();
  EXPECT_EQ(event.action, "process_exited");
  EXPECT_EQ(text_of(event, "process.exit_code"), "3");
  EXPECT_EQ(guest.exited, caller.process);

  guest.call("taskstats_exit", false, caller,
             {{"flags", 0}, {"group_code", 0}, {"leader_code", 0x900}});
  EXPECT_EQ(text_of(guest.only(), "process.exit_code"), "9");

  guest.call("taskstats_exit", false, caller, {{"flags", 4}, {"group_code", 0x80 | 11}});
  event = guest.only();
  EXPECT_EQ(event.find("process.exit_code"), nullptr);
  EXPECT_EQ(text_of(event, "glasshook.signal.name"), "SIGSEGV");
  EXPECT_EQ(text_of(event, "glasshook.signal.number"), "11");
  EXPECT_EQ(text_of(event, "glasshook.core_dumped"), "true");
}

TEST(ProcessFamily, CredentialsShowWhatWasGained) {
  FakeGuest guest("process");
  const auto set = [](std::uint64_t id, std::uint64_t caps) {
    return std::vector<Captured>{{"uid", id},  {"euid", id},           {"gid", id},
                                 {"egid", id}, {"capabilities", caps}, {"user_namespace", 1}};
  };
  std::vector<Captured> captured = set(0, 1ull << 21 | 1ull << 19);
  for (const Captured& c : set(1000, 1ull << 19)) captured.push_back(c);
  guest.call("commit_creds", false, {.process = make_process(10), .syscall = 105}, captured);
  const Event event = guest.only();
  EXPECT_EQ(text_of(event, "glasshook.credentials.old.euid"), "1000");
  EXPECT_EQ(text_of(event, "glasshook.credentials.new.euid"), "0");
  EXPECT_EQ(text_of(event, "user.effective.id"), "0");
  EXPECT_EQ(text_of(event, "glasshook.credentials.gained_capabilities"), "CAP_SYS_ADMIN");
  EXPECT_EQ(event.find("glasshook.credentials.lost_capabilities"), nullptr);
  EXPECT_EQ(text_of(event, "glasshook.syscall.name"), "setuid");
}

TEST(ProcessFamily, SignalsNameTheirTarget) {
  FakeGuest guest("process");
  guest.processes[12] = make_process(12, "victim");
  guest.call("do_send_sig_info", false, {.process = make_process(10)},
             {{"signal", 9}, {"pid", 12}, {"name", "victim"}});
  const Event event = guest.only();
  EXPECT_EQ(event.action, "signal_sent");
  EXPECT_EQ(text_of(event, "glasshook.target.pid"), "12");
  EXPECT_EQ(text_of(event, "glasshook.target.entity_id"), "entity-12");
  EXPECT_EQ(text_of(event, "glasshook.signal.name"), "SIGKILL");
  guest.call("do_send_sig_info", false, {.process = make_process(10)}, {{"signal", 0}});
  EXPECT_TRUE(guest.events.empty());
}

TEST(Environment, HashAndLoaderVariables) {
  EXPECT_NE(environment_hash("A=1"), environment_hash("A=2"));
  EXPECT_EQ(environment_hash(""), environment_hash(""));
  std::string block;
  for (int i = 0; i < 100; ++i) block += std::string("LD_PRELOAD=x\0", 13);
  EXPECT_EQ(loader_variables(block).size(), 16u);
  EXPECT_TRUE(loader_variables("XLD_PRELOAD=1").empty());
}

TEST(Capabilities, UnknownOnesHaveNumbers) {
  EXPECT_THAT(capability_names(1ull | 1ull << 40 | 1ull << 63),
              ElementsAre("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_63"));
}

TEST(Support, NamesOfNumbers) {
  EXPECT_EQ(signal_name(15), "SIGTERM");
  EXPECT_EQ(signal_name(34), "SIGRTMIN");
  EXPECT_EQ(signal_name(64), "SIGRTMIN+30");
  EXPECT_EQ(signal_name(0), "signal 0");
  EXPECT_EQ(signal_name(~0ull), "signal 18446744073709551615");
  EXPECT_EQ(error_name(-2), "ENOENT");
  EXPECT_EQ(error_name(-5000), "error 5000");
  EXPECT_EQ(syscall_name(257), "openat");
  EXPECT_EQ(syscall_name(~0ull), "");
  EXPECT_EQ(octal_mode(0100644), "0644");
  EXPECT_THAT(split_nul(std::string_view("a\0\0b", 4)), ElementsAre("a", "", "b"));
  EXPECT_TRUE(split_nul("").empty());
}

TEST(PendingCalls, ForgetsTheOldestBeyondItsLimit) {
  FakeGuest guest("process");
  const hook::HookSpec spec;
  PendingCalls<int> pending;
  const auto with_call = [&](std::uint64_t id, auto use) {
    const std::vector<std::byte> bytes = RecordBuilder(capture::RecordKind::entry, id).build();
    capture::RecordView view;
    ASSERT_TRUE(capture::RecordView::parse(bytes, view));
    use(Call(view, spec, 0, {}, nullptr));
  };
  for (std::uint64_t id = 0; id <= PendingCalls<int>::kLimit; ++id)
    with_call(id, [&](const Call& call) { pending.put(call, static_cast<int>(id)); });
  with_call(0, [&](const Call& call) { EXPECT_FALSE(pending.take(call)); });
  with_call(1, [&](const Call& call) { EXPECT_EQ(pending.take(call), 1); });
  with_call(1, [&](const Call& call) { EXPECT_FALSE(pending.take(call)); });
}

}  // namespace
}  // namespace glasshook::behaviour
