#include "monitor/process_table.h"

#include <gtest/gtest.h>

namespace glasshook::monitor {
namespace {

using behaviour::Process;

Actor actor(std::uint64_t task, std::uint32_t pid, std::uint64_t start) {
  return {.task = task, .thread_id = pid, .key = {.pid = pid, .start_time = start}};
}

class ProcessTableTest : public testing::Test {
 protected:
  Process guest_;
  int reads_ = 0;
  ProcessTable table_{"host", [this](std::uint64_t) -> std::optional<Process> {
                        ++reads_;
                        return guest_;
                      }};
};

TEST_F(ProcessTableTest, ReadsAnUnknownProcessOnceAndKeepsIt) {
  guest_.pid = 7;
  guest_.start_time = 100;
  guest_.executable = "/bin/sh";
  const auto first = table_.resolve(actor(0xffff0001, 7, 100));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->executable, "/bin/sh");
  EXPECT_EQ(table_.resolve(actor(0xffff0001, 7, 100)), first);
  EXPECT_EQ(reads_, 1);
}

TEST_F(ProcessTableTest, AReusedPidIsAnotherProcess) {
  const auto old = table_.resolve(actor(1, 7, 100));
  table_.exited(old);
  const auto young = table_.resolve(actor(2, 7, 200));
  EXPECT_NE(old->entity_id, young->entity_id);
  EXPECT_EQ(table_.by_pid(7), young);
}

TEST_F(ProcessTableTest, AGuestThatSaysSomethingElseIsNotBelieved) {
  guest_.pid = 9;  // the record says 7
  guest_.start_time = 100;
  guest_.executable = "/bin/liar";
  const auto process = table_.resolve(actor(1, 7, 100));
  EXPECT_EQ(process->pid, 7u);
  EXPECT_EQ(process->executable, "");
}

TEST_F(ProcessTableTest, ExecKeepsIdentityAndParent) {
  const auto parent = table_.resolve(actor(1, 7, 100));
  Process started;
  started.pid = 8;
  started.start_time = 150;
  started.namespace_pid = 3;
  const auto child = table_.forked(parent, 2, started);
  EXPECT_EQ(child->parent, parent);
  Process image;
  image.executable = "/usr/bin/env";
  const auto after = table_.executed(child, image);
  EXPECT_EQ(after->entity_id, child->entity_id);
  EXPECT_EQ(after->parent, parent);
  EXPECT_EQ(after->executable, "/usr/bin/env");
  EXPECT_EQ(after->namespace_pid, 3u);
  EXPECT_EQ(table_.resolve(actor(2, 8, 150)), after);
}

TEST_F(ProcessTableTest, AMovedProcessIsInItsContainerFromThenOn) {
  const auto before = table_.resolve(actor(1, 7, 100));
  table_.moved({.pid = 7, .start_time = 100}, "abc");
  table_.moved({.pid = 7, .start_time = 99}, "another process");
  table_.moved({.pid = 8, .start_time = 100}, "unknown");
  const auto after = table_.resolve(actor(1, 7, 100));
  EXPECT_EQ(after->container_id, "abc");
  EXPECT_EQ(after->entity_id, before->entity_id);
  EXPECT_EQ(before->container_id, "");
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(ProcessTableTest, ARecordWithoutAnActorHasNoProcess) {
  EXPECT_EQ(table_.resolve(Actor{}), nullptr);
}

TEST_F(ProcessTableTest, ForgetsTheOldestOfTheGone) {
  for (std::uint32_t i = 0; i < ProcessTable::kMaxGone + 10; ++i)
    table_.exited(table_.resolve(actor(1, i + 2, i + 1)));
  EXPECT_EQ(table_.size(), ProcessTable::kMaxGone);
  EXPECT_EQ(table_.by_pid(2), nullptr);
}

}  // namespace
}  // namespace glasshook::monitor
