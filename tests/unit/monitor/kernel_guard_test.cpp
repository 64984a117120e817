#include "monitor/kernel_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/fake_kernel.h"

namespace glasshook::monitor {
namespace {

using behaviour::EntryChange;
using behaviour::HiddenModule;
using behaviour::HiddenProcess;
using behaviour::KernelTampering;
using linux_guest::FakeKernel;
using linux_guest::LinuxKernel;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Found = std::vector<KernelTampering>;

/// A kernel with a table of ids and a tree of modules.
class KernelGuardTest : public testing::Test {
 protected:
  KernelGuardTest() {
    ids_ = guest_.make("xa_node");
    const Gva space = guest_.variable("init_pid_ns", guest_.size("pid_namespace"));
    guest_.put(space, "pid_namespace", "idr.idr_rt.xa_head", ids_.value | 2);
    tree_ = guest_.variable("mod_tree", guest_.size("mod_tree_root"));
    for (const std::uint32_t pid : {1u, 2u, 30u}) tasks_[pid] = add(pid);
    guest_.finish();
    kernel_.emplace(guest_.kernel());
  }

  Gva add(std::uint32_t pid) {
    const Gva task = guest_.add_process(pid, "p" + std::to_string(pid));
    const Gva id = guest_.make("pid");
    // PIDTYPE_TGID is 1.
    guest_.put(id + guest_.offset("pid", "tasks") + 8,
               (task + guest_.offset("task_struct", "pid_links") + 16).value);
    guest_.put(slot(pid), id.value);
    return task;
  }
  [[nodiscard]] Gva slot(std::uint32_t pid) const {
    return ids_ + guest_.offset("xa_node", "slots") + std::uint64_t{pid} * 8;
  }
  /// As list_del() does.
  void unlink(Gva node) {
    std::uint64_t next = 0, before = 0;
    (void)guest_.read(FakeKernel::physical(node), std::as_writable_bytes(std::span{&next, 1}));
    (void)guest_.read(FakeKernel::physical(node + 8),
                      std::as_writable_bytes(std::span{&before, 1}));
    guest_.put(Gva{before}, next);
    guest_.put(Gva{next} + 8, before);
  }
  void unlist(std::uint32_t pid) { unlink(tasks_.at(pid) + guest_.offset("task_struct", "tasks")); }
  Gva add_module(std::string_view name) {
    const Gva module = guest_.make("module"), node = guest_.make("mod_tree_node");
    guest_.put_text(module + guest_.offset("module", "name"), name);
    guest_.put(module + guest_.offset("module", "mem"), guest_.allocate(4096, 4096).value);
    guest_.list_add(guest_.modules, module + guest_.offset("module", "list"));
    guest_.put(node, "mod_tree_node", "mod", module);
    guest_.put(tree_ + guest_.offset("mod_tree_root", "root.tree"),
               (node + guest_.offset("mod_tree_node", "node.node")).value);
    return module;
  }
  [[nodiscard]] KernelGuard guard() const {
    return {*kernel_,
            {.system_call = Gva{0xffff'ffff'8100'0040}, .interrupt_table = Gva{~0xfffull}},
            true,
            [](std::uint32_t pid, Gva) {
              auto process = std::make_shared<behaviour::Process>();
              process->pid = pid;
              return process;
            }};
  }
  static void act(KernelGuard& guard, std::uint32_t pid) {
    guard.acts(
        {.task = 0xffff'8880'0000'1000, .thread_id = pid, .key = {.pid = pid, .start_time = 5}});
  }
  static Found looks(KernelGuard& guard, int count) {
    Found all;
    for (int i = 0; i < count; ++i)
      for (KernelTampering& found : guard.look({})) all.push_back(std::move(found));
    return all;
  }

  FakeKernel guest_;
  Gva ids_, tree_;
  std::map<std::uint32_t, Gva> tasks_;
  std::optional<LinuxKernel> kernel_;
};

TEST_F(KernelGuardTest, NothingInAGuestThatIsAsItShould) {
  add_module("fine");
  KernelGuard guard = this->guard();
  for (int i = 0; i < 10; ++i) {
    for (const std::uint32_t pid : {0u, 1u, 2u, 30u}) act(guard, pid);
    EXPECT_THAT(looks(guard, 1), IsEmpty());
  }
  EXPECT_THAT(guard.look_for_the_last_time(), IsEmpty());
}

TEST_F(KernelGuardTest, AProcessTakenOutOfTheListIsToldOnceAfterThreeLooks) {
  KernelGuard guard = this->guard();
  unlist(30);
  EXPECT_THAT(looks(guard, 2), IsEmpty());
  const Found found = looks(guard, 5);
  ASSERT_THAT(found, SizeIs(1));
  const auto& hidden = std::get<HiddenProcess>(found[0]);
  EXPECT_EQ(hidden.pid, 30u);
  EXPECT_EQ(hidden.process->pid, 30u);
  EXPECT_THAT(hidden.missing_from, ElementsAre("task_list"));
}

TEST_F(KernelGuardTest, AProcessTakenOutOfTheTableOfIds) {
  KernelGuard guard = this->guard();
  guest_.put(slot(2), std::uint64_t{0});
  const Found found = looks(guard, 4);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(std::get<HiddenProcess>(found[0]).pid, 2u);
  EXPECT_THAT(std::get<HiddenProcess>(found[0]).missing_from, ElementsAre("pid_table"));
}

TEST_F(KernelGuardTest, OneThatIsNowhereIsToldBecauseItActs) {
  KernelGuard guard = this->guard();
  guest_.put(slot(30), std::uint64_t{0});
  unlist(30);
  Found found;
  for (int i = 0; i < 4; ++i) {
    act(guard, 30);
    for (KernelTampering& one : looks(guard, 1)) found.push_back(std::move(one));
  }
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(std::get<HiddenProcess>(found[0]).missing_from,
              ElementsAre("task_list", "pid_table"));
}

TEST_F(KernelGuardTest, OneThatActedAndEndedIsNotHidden) {
  KernelGuard guard = this->guard();
  act(guard, 77);  // never seen in a list: it came and went between two looks
  EXPECT_THAT(looks(guard, 1), IsEmpty());
  act(guard, 77);  // heard of late
  EXPECT_THAT(looks(guard, 5), IsEmpty());
  act(guard, 78);
  EXPECT_THAT(looks(guard, 5), IsEmpty());
}

TEST_F(KernelGuardTest, WhatIsMissingForAMomentIsNotTold) {
  KernelGuard guard = this->guard();
  std::uint64_t id = 0;
  (void)guest_.read(FakeKernel::physical(slot(2)), std::as_writable_bytes(std::span{&id, 1}));
  for (int i = 0; i < 5; ++i) {
    guest_.put(slot(2), std::uint64_t{0});
    EXPECT_THAT(looks(guard, 2), IsEmpty());
    guest_.put(slot(2), id);
    EXPECT_THAT(looks(guard, 1), IsEmpty());
  }
}

TEST_F(KernelGuardTest, BrokenListsAndTablesTellNothing) {
  KernelGuard guard = this->guard();
  guest_.put(slot(30), std::uint64_t{0});
  guest_.put(slot(5), ids_.value | 2);  // the table holds itself
  EXPECT_THAT(looks(guard, 5), IsEmpty());
  guest_.put(slot(5), std::uint64_t{0});
  guest_.put(tasks_.at(2) + guest_.offset("task_struct", "tasks"), std::uint64_t{0xbad});
  EXPECT_THAT(looks(guard, 5), IsEmpty());
}

TEST_F(KernelGuardTest, AModuleTakenOutOfTheList) {
  const Gva module = add_module("rootkit");
  KernelGuard guard = this->guard();
  EXPECT_THAT(looks(guard, 1), IsEmpty());
  unlink(module + guest_.offset("module", "list"));
  const Found found = looks(guard, 6);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(std::get<HiddenModule>(found[0]).name, "rootkit");
}

TEST_F(KernelGuardTest, AModuleHiddenBeforeOrAsItWasLoaded) {
  const Gva before = add_module("before");  // the tree knows it
  unlink(before + guest_.offset("module", "list"));
  KernelGuard guard = this->guard();
  EXPECT_THAT(looks(guard, 4), SizeIs(1));
  const Gva loaded = add_module("loaded");
  unlink(loaded + guest_.offset("module", "list"));
  guest_.put(tree_ + guest_.offset("mod_tree_root", "root.tree"), std::uint64_t{0});
  guard.module_loaded(loaded);
  const Found found = looks(guard, 4);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(std::get<HiddenModule>(found[0]).name, "loaded");
}

TEST_F(KernelGuardTest, AModuleThatGoesIsNotHidden) {
  const Gva module = add_module("goes");
  KernelGuard guard = this->guard();
  EXPECT_THAT(looks(guard, 1), IsEmpty());
  guest_.put(module, "module", "state", 2u);  // MODULE_STATE_GOING
  unlink(module + guest_.offset("module", "list"));
  EXPECT_THAT(looks(guard, 5), IsEmpty());
}

TEST_F(KernelGuardTest, EntriesThatMovedAreToldOnceEach) {
  KernelGuard guard = this->guard();
  const Gva lstar{0xffff'ffff'8100'0040}, idt{~0xfffull}, bad{0xffff'ffff'c000'0000};
  EXPECT_THAT(guard.entered(lstar, idt, 0), IsEmpty());
  EXPECT_THAT(guard.entered({}, {}, 0), IsEmpty());  // a backend that cannot tell
  const Found found = guard.entered(bad, idt, 2);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(std::get<EntryChange>(found[0]).name, "LSTAR");
  EXPECT_EQ(std::get<EntryChange>(found[0]).cpu, 2u);
  EXPECT_EQ(std::get<EntryChange>(found[0]).after, "0xffffffffc0000000");
  EXPECT_THAT(guard.entered(bad, idt, 0), IsEmpty());
  EXPECT_THAT(guard.entered(bad, bad, 0), SizeIs(1));
  for (std::uint64_t i = 0; i < 1000; ++i) (void)guard.entered(Gva{~i}, idt, 0);
  EXPECT_THAT(guard.entered(Gva{0x1234'5000}, idt, 0), IsEmpty());
}

}  // namespace
}  // namespace glasshook::monitor
