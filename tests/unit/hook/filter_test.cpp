#include <gtest/gtest.h>

#include "hook/context.h"
#include "hook/fake_kernel.h"

namespace glasshook::hook {
namespace {

using capture::Outcome;
using test::entry_spec;
using test::FakeKernel;

class Filters : public testing::Test {
 protected:
  bool in_scope(std::uint64_t task) {
    kernel.run_as(task);
    const auto programs = kernel.compile(entry_spec("vfs_read", {}));
    return programs && kernel.run(programs->entry) == Outcome::sent;
  }
  /// Runs the hook of tree_hooks() that sits on `function`, with a task as its argument.
  void run_tree_hook(std::string_view function, std::uint64_t argument) {
    for (const HookSpec& spec : tree_hooks()) {
      if (spec.functions.front() != function) continue;
      const auto programs = kernel.compile(spec);
      ASSERT_TRUE(programs.has_value()) << programs.error().message;
      kernel.arguments({argument});
      EXPECT_EQ(kernel.run(programs->entry), Outcome::stopped);
      EXPECT_FALSE(kernel.last.return_armed);
    }
  }
  ProcessFilter& filter() { return kernel.target().filter; }

  FakeKernel kernel;
};

TEST_F(Filters, AnEmptyFilterCostsNothing) {
  const auto without = kernel.compile(entry_spec("vfs_read", {}))->entry.code.size();
  filter().comms = {"x"};
  EXPECT_GT(kernel.compile(entry_spec("vfs_read", {}))->entry.code.size(), without);
  HookSpec always = entry_spec("vfs_read", {});
  always.in_scope_only = false;
  EXPECT_EQ(kernel.compile(always)->entry.code.size(), without);
}

TEST_F(Filters, ByProcessIdOfTheThreadGroup) {
  filter().pids = {100};
  kernel.sets.add(filter().pid_set, 100);
  EXPECT_TRUE(in_scope(kernel.task));
  EXPECT_TRUE(in_scope(kernel.make_task(101, 100, "thread", kernel.task)));
  EXPECT_FALSE(in_scope(kernel.make_task(102, 102, "shell")));
}

TEST_F(Filters, ByNameOfTheMainThread) {
  filter().comms = {"bash", "sh*"};
  EXPECT_TRUE(in_scope(kernel.task));
  EXPECT_TRUE(in_scope(kernel.make_task(101, 100, "worker", kernel.task)));
  EXPECT_FALSE(in_scope(kernel.make_task(102, 102, "python3")));
}

TEST_F(Filters, ByFileNameOfTheExecutable) {
  filter().exes = {"/usr/bin/python3*", "/bin/s?"};
  EXPECT_TRUE(in_scope(kernel.task));
  filter().exes = {"/usr/bin/python3*"};
  EXPECT_FALSE(in_scope(kernel.task));
  filter().exes = {"*"};
  EXPECT_TRUE(in_scope(kernel.task));
  kernel.set("task_struct", kernel.task, "mm", 0);
  EXPECT_FALSE(in_scope(kernel.task)) << "a kernel thread runs no file";
}

TEST_F(Filters, EveryGivenKindMustMatch) {
  filter().comms = {"shell"};
  filter().exes = {"python3"};
  EXPECT_FALSE(in_scope(kernel.task));
  filter().exes = {"sh"};
  EXPECT_TRUE(in_scope(kernel.task));
}

TEST_F(Filters, TreeFollowsChildrenUntilTheirIdIsFree) {
  filter().comms = {"shell"};
  filter().tree = true;
  const std::uint64_t child = kernel.make_task(200, 200, "ls");
  const std::uint64_t stranger = kernel.make_task(300, 300, "cron");
  EXPECT_FALSE(in_scope(child));

  kernel.run_as(stranger);
  run_tree_hook("wake_up_new_task", child);
  EXPECT_FALSE(in_scope(child)) << "its parent is not in the tree";

  kernel.run_as(kernel.task);
  run_tree_hook("wake_up_new_task", child);
  EXPECT_TRUE(in_scope(child));
  EXPECT_FALSE(in_scope(stranger));

  kernel.run_as(stranger);
  run_tree_hook("release_task", kernel.make_task(201, 200, "thread", child));
  EXPECT_TRUE(in_scope(child)) << "only a thread is gone";
  kernel.run_as(stranger);
  run_tree_hook("release_task", child);
  EXPECT_FALSE(in_scope(child));
}

TEST_F(Filters, TreeRemembersWhoMatchedOnce) {
  filter().comms = {"shell"};
  filter().tree = true;
  EXPECT_TRUE(in_scope(kernel.task));
  filter().comms = {"other"};
  EXPECT_TRUE(in_scope(kernel.task)) << "after exec, say";
}

TEST_F(Filters, TreeAloneIsWhatTheMonitorPutIn) {
  filter().tree = true;
  EXPECT_FALSE(in_scope(kernel.task));
  kernel.sets.add(filter().tree_set, 100);
  EXPECT_TRUE(in_scope(kernel.task));
}

TEST_F(Filters, ContextProgramRunsInUserMode) {
  const auto program = compile_context(kernel.target().layout);
  ASSERT_TRUE(program.has_value());
  kernel.cpu.user_mode = true;
  kernel.cpu.rip = 0x401234;
  kernel.cpu.gpr[4] = 0x7fff'0000;
  ASSERT_EQ(kernel.run(*program), Outcome::sent);
  EXPECT_EQ(kernel.word(kContextField, kContextUserIp), 0x401234u);
  EXPECT_EQ(kernel.word(kContextField, kContextUserSp), 0x7fff'0000u);
  EXPECT_EQ(kernel.word(kContextField, kContextSyscall), ~0ull);
}

}  // namespace
}  // namespace glasshook::hook
