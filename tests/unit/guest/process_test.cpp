#include "guest/linux/process.h"

#include <gmock/gmock.h>

#include "fake_kernel.h"
#include "guest/linux/cgroup.h"
#include "guest/linux/percpu.h"

namespace glasshook::linux_guest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ProcessTest : public testing::Test {
 protected:
  std::vector<std::uint32_t> pids() {
    std::vector<std::uint32_t> out;
    const auto all = processes(kernel_);
    for (const ProcessInfo& p : all->items) out.push_back(p.pid);
    return out;
  }
  /// An mm whose arguments lie at 0x400ff0 in two pages of user memory.
  Gva with_arguments(std::string_view first_page, std::string_view second_page) {
    const Gva mm = guest_.add_mm(shell_), low = guest_.allocate(4096, 4096),
              high = guest_.allocate(4096, 4096);
    const Gpa root = kernel_.space_of(mm)->root;
    guest_.map_user(root, Gva{0x400000}, FakeGuest::physical(low));
    guest_.map_user(root, Gva{0x401000}, FakeGuest::physical(high));
    guest_.put_text(low + (4096 - first_page.size()), first_page);
    guest_.put_text(high, second_page);
    guest_.put(mm, "mm_struct", "arg_start", 0x401000 - first_page.size());
    guest_.put(mm, "mm_struct", "arg_end", 0x401000 + second_page.size());
    return mm;
  }

  FakeKernel guest_;
  Gva shell_ = guest_.add_process(10, "bash");
  Gva daemon_ = guest_.add_process(11, "a-name-of-sixteen");
  LinuxKernel kernel_ = (guest_.finish(), guest_.kernel());
};

TEST_F(ProcessTest, ListsProcesses) {
  EXPECT_THAT(pids(), ElementsAre(10, 11));
  const auto found = find_process(kernel_, 11);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "a-name-of-sixtee");
  EXPECT_EQ(found->start_time, 11'000u);
  EXPECT_EQ(found->parent_pid, 0u);
  EXPECT_EQ(find_process(kernel_, 12).error().code, ErrorCode::not_found);
}

TEST_F(ProcessTest, ReportsAListThatRunsInACircle) {
  const auto tasks = guest_.offset("task_struct", "tasks");
  guest_.put(daemon_ + tasks, (shell_ + tasks).value);
  EXPECT_THAT(pids(), ElementsAre(10, 11));
  EXPECT_THAT(processes(kernel_)->incomplete->message, HasSubstr("circle"));
  EXPECT_EQ(find_process(kernel_, 99).error().code, ErrorCode::guest_fault);
}

TEST_F(ProcessTest, ReportsAListThatLeavesMemory) {
  guest_.put(shell_ + guest_.offset("task_struct", "tasks"), 0xffff'9999'0000'0000ull);
  const auto all = processes(kernel_);
  EXPECT_THAT(pids(), ElementsAre(10)) << "the wild task cannot be read";
  EXPECT_TRUE(all->incomplete);
}

TEST_F(ProcessTest, ReadsArgumentsAcrossPages) {
  with_arguments(std::string_view("cat\0a b", 7), std::string_view("c\0\0-x\0", 6));
  const auto p = process_at(kernel_, shell_);
  ASSERT_TRUE(p);
  EXPECT_THAT(p->arguments, ElementsAre("cat", "a bc", "", "-x"));
  EXPECT_FALSE(p->arguments_truncated);
}

TEST_F(ProcessTest, KeepsArgumentsBeforeAPageThatIsNotThere) {
  const Gva mm = with_arguments(std::string_view("cat\0file", 8), "");
  guest_.put(mm, "mm_struct", "arg_end", 0x409000ull);
  const auto p = process_at(kernel_, shell_);
  EXPECT_EQ(p->arguments.at(0), "cat");
  EXPECT_TRUE(p->arguments_truncated);
}

TEST_F(ProcessTest, RefusesImpossibleArgumentRanges) {
  const Gva mm = with_arguments("x", "y");
  const std::uint64_t huge[][2] = {{0x401000, 0x400000},
                                   {0x400fff, 0xffff'ffff'ffff'ffff},
                                   {0xffff'8880'0000'0000, 0xffff'8880'0000'1000},
                                   {0, 0}};
  for (const auto& [start, end] : huge) {
    guest_.put(mm, "mm_struct", "arg_start", start);
    guest_.put(mm, "mm_struct", "arg_end", end);
    EXPECT_THAT(process_at(kernel_, shell_)->arguments, IsEmpty()) << start;
  }
  guest_.put(mm, "mm_struct", "arg_start", 0x400fffull);
  guest_.put(mm, "mm_struct", "arg_end", 0x7fff'ffff'f000ull);
  EXPECT_TRUE(process_at(kernel_, shell_)->arguments_truncated);
}

TEST_F(ProcessTest, ReadsThePidOfTheInnermostNamespace) {
  const Gva pid = guest_.allocate(256);
  guest_.put(shell_, "task_struct", "thread_pid", pid);
  guest_.put(pid, "pid", "level", 2u);
  guest_.put(pid + guest_.offset("pid", "numbers") + 2ull * guest_.size("upid"), 7u);
  EXPECT_EQ(process_at(kernel_, shell_)->namespace_pid, 7u);
  guest_.put(pid, "pid", "level", 0xffff'ffffu);
  EXPECT_EQ(process_at(kernel_, shell_)->namespace_pid, 0u);
}

TEST_F(ProcessTest, RefusesWhatIsNoTask) {
  for (const std::uint64_t wild :
       {0ull, 0x1000ull, 0xffff'9999'0000'0000ull, 0xffff'ffff'ffff'fff0ull})
    EXPECT_EQ(process_at(kernel_, Gva{wild}).error().code, ErrorCode::guest_fault) << wild;
  EXPECT_FALSE(threads(kernel_, Gva{0xffff'9999'0000'0000}));
}

TEST_F(ProcessTest, WalksAThreadListInACircle) {
  const Gva thread = guest_.make("task_struct");
  guest_.put(thread, "task_struct", "pid", 77u);
  const auto node = guest_.offset("task_struct", "thread_node");
  guest_.put(shell_ + node, (thread + node).value);
  guest_.put(thread + node, (thread + node).value);
  const auto all = threads(kernel_, shell_);
  ASSERT_EQ(all->items.size(), 2u);
  EXPECT_EQ(all->items[1].tid, 77u);
  EXPECT_TRUE(all->incomplete);
}

TEST_F(ProcessTest, EndsOnACgroupThatIsItsOwnParent) {
  const Gva set = guest_.make("css_set"), cgroup = guest_.make("cgroup"),
            node = guest_.make("kernfs_node");
  guest_.put(shell_, "task_struct", "cgroups", set);
  guest_.put(set, "css_set", "dfl_cgrp", cgroup);
  guest_.put(cgroup, "cgroup", "kn", node);
  guest_.put(node, "kernfs_node", "parent", node);
  guest_.put(node, "kernfs_node", "name", guest_.allocate_text("loop"));
  EXPECT_THAT(process_at(kernel_, shell_)->cgroup, testing::StartsWith("/loop/loop"));
}

TEST_F(ProcessTest, TakesTheV1HierarchyWhereV2IsNotUsed) {
  const Gva set = guest_.make("css_set"), css = guest_.make("cgroup_subsys_state"),
            cgroup = guest_.make("cgroup"), node = guest_.make("kernfs_node"),
            root = guest_.make("kernfs_node");
  guest_.put(shell_, "task_struct", "cgroups", set);
  guest_.put(set + guest_.offset("css_set", "subsys") + 8, css.value);
  guest_.put(css, "cgroup_subsys_state", "cgroup", cgroup);
  guest_.put(cgroup, "cgroup", "kn", node);
  guest_.put(node, "kernfs_node", "parent", root);
  guest_.put(node, "kernfs_node", "name", guest_.allocate_text("docker"));
  EXPECT_EQ(process_at(kernel_, shell_)->cgroup, "/docker");
}

TEST_F(ProcessTest, WalksACgroupOnceThatSeveralSubsystemsShare) {
  const Gva set = guest_.make("css_set"), css = guest_.make("cgroup_subsys_state"),
            cgroup = guest_.make("cgroup");
  guest_.put(set, "css_set", "dfl_cgrp", cgroup);
  guest_.put(cgroup, "cgroup", "kn", guest_.make("kernfs_node"));
  guest_.reads = 0;
  EXPECT_EQ(cgroup_path(kernel_, set), "/");
  const std::size_t of_one = guest_.reads;
  guest_.put(css, "cgroup_subsys_state", "cgroup", cgroup);
  for (const std::uint64_t i : {0, 8})
    guest_.put(set + guest_.offset("css_set", "subsys") + i, css.value);
  guest_.reads = 0;
  EXPECT_EQ(cgroup_path(kernel_, set), "/");
  const std::size_t of_a_word = kernel_.space().five_level ? 6 : 5;
  EXPECT_LE(guest_.reads, of_one + 2 * of_a_word);
}

TEST_F(ProcessTest, ReadsNoControlGroupsFromWhereNoKernelIs) {
  EXPECT_EQ(cgroup_path(kernel_, {}), "");
  EXPECT_EQ(cgroup_path(kernel_, Gva{0x400000}), "");
}

TEST_F(ProcessTest, KnowsTheStackOfAThread) {
  const auto registers = user_registers(kernel_);
  ASSERT_TRUE(registers) << registers.error().message;
  EXPECT_EQ(registers->thread_size, 16384u);
  EXPECT_EQ(registers->offset, 16384u - 168);
  EXPECT_EQ(current_task_offset(kernel_).error().code, ErrorCode::unsupported);
}

TEST(Process, NeedsTypes) {
  FakeGuest bare{{.with_btf = false}};
  bare.finish();
  const LinuxKernel kernel = bare.kernel();
  EXPECT_EQ(processes(kernel).error().code, ErrorCode::unsupported);
  EXPECT_EQ(process_at(kernel, Gva{1}).error().code, ErrorCode::unsupported);
}

TEST(ContainerId, IsFoundInPathsOfEveryEngine) {
  const std::string id(64, 'a'), other(64, 'b');
  for (const std::string& path :
       {"/system.slice/docker-" + id + ".scope", "/docker/" + id,
        "/kubepods.slice/kubepods-burstable.slice/crio-" + id + ".scope",
        "/machine.slice/libpod-" + id + ".scope/container", "/kubepods/besteffort/pod2d4f/" + id,
        "/kubepods/cri-containerd-" + id + ".scope", "/docker/" + other + "/docker/" + id})
    EXPECT_EQ(container_id_of(path), id) << path;
  for (const std::string& path :
       {std::string{}, std::string{"/"}, "/x/" + id + "a", "/x/" + id.substr(1),
        "/machine.slice/libpod-conmon-" + id + ".scope"})
    EXPECT_EQ(container_id_of(path), "") << path;
}

}  // namespace
}  // namespace glasshook::linux_guest
