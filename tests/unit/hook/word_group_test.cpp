#include "hook/word_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "capture/assembler.h"
#include "hook/fake_kernel.h"

namespace glasshook::hook {
namespace {

using capture::Outcome;
using test::entry_spec;
using test::FakeKernel;
using testing::HasSubstr;
using testing::Not;

std::uint16_t field_of(std::size_t capture) {
  return static_cast<std::uint16_t>(kFirstCapture + capture);
}

class WordGroups : public testing::Test {
 protected:
  WordGroups() {
    inode = kernel.allocate(128);
    file = kernel.make_file(kernel.root_mount, kernel.root);
    kernel.set("file", file, "f_inode", inode);
    kernel.set("file", file, "f_pos", 77);
    kernel.set("inode", inode, "i_ino", 4711);
    kernel.put<std::uint16_t>(inode, 0x81a4);
    kernel.put<std::uint32_t>(file + kernel.offset("file", "f_numbers"), 5u);
    kernel.put<std::uint64_t>(file + 64, 0xabcdeull << 12);
    kernel.arguments({file, 0x1234, 99, 0xffff});
  }

  /// Compiles words of these expressions at the entry of vfs_read; the program as text.
  std::string compile(const std::vector<std::string>& expressions) {
    std::vector<Capture> captures;
    for (const std::string& expression : expressions)
      captures.push_back({.name = expression, .expression = expression});
    auto compiled = kernel.compile(entry_spec("vfs_read", std::move(captures)));
    EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().message);
    if (!compiled) return "";
    program = std::move(compiled->entry);
    return capture::disassemble(program);
  }
  /// Words by capture after a run.
  std::vector<std::optional<std::uint64_t>> words(const std::vector<std::string>& expressions) {
    compile(expressions);
    EXPECT_EQ(kernel.run(program), Outcome::sent);
    std::vector<std::optional<std::uint64_t>> found;
    for (std::size_t i = 0; i < expressions.size(); ++i)
      found.push_back(kernel.record.find_word(field_of(i)));
    return found;
  }

  FakeKernel kernel;
  std::uint64_t file = 0, inode = 0;
  capture::Program program;
};

TEST_F(WordGroups, FollowOnePointerOnceAndLoadSideBySide) {
  EXPECT_THAT(
      compile({"file", "file->f_inode->i_ino", "(umode_t)file->f_inode->i_uid.val", "file->f_pos"}),
      HasSubstr(R"(  load_cpu r0, rdi
  load_memory r4, [r0 + 32], 8, kernel
  load_memory r3, [r0 + 96], 8, kernel
  load_memory r1, [r4 + 64], 8, kernel
  load_memory r2, [r4 + 4], 4, kernel
)"));
}

TEST_F(WordGroups, AreOneField) {
  const auto found = words({"file", "file->f_inode->i_ino", "file->f_pos", "count"});
  EXPECT_THAT(found, testing::ElementsAre(file, 4711u, 77u, 99u));
  ASSERT_NE(kernel.record.find(kFirstCapture), nullptr);
  EXPECT_EQ(kernel.record.find(kFirstCapture)->data.size(), 32u);
  EXPECT_EQ(kernel.record.find(kFirstCapture + 1), nullptr);
}

TEST_F(WordGroups, FinishEachWordByItself) {
  EXPECT_THAT(words({"mode", "file->f_inode->i_mode", "(umode_t)file->f_inode->i_mode",
                     "file->f_wide", "file->f_numbers[0] + 2"}),
              testing::ElementsAre(~0ull, 0xffff'ffff'ffff'81a4u, 0x81a4u, 0xabcdeu, 7u));
}

TEST_F(WordGroups, WordsOfTheTaskAndOfArguments) {
  EXPECT_THAT(words({"current->tgid", "current->pid", "buf"}),
              testing::ElementsAre(100u, 100u, 0x1234u));
}

TEST_F(WordGroups, WhatCannotBeReadIsLeftOutAlone) {
  kernel.set("file", file, "f_inode", 0xffff'0000'0000'0000);
  EXPECT_THAT(words({"file", "file->f_inode->i_ino", "file->f_pos"}),
              testing::ElementsAre(file, std::nullopt, 77u));
}

TEST_F(WordGroups, EndWhereSomethingElseIsComputed) {
  EXPECT_THAT(words({"count", "count + file->f_pos", "file->f_pos", "file->f_pos"}),
              testing::ElementsAre(99u, 176u, 77u, 77u));
  kernel.arguments({file, 0, 0, 0});
  EXPECT_THAT(words({"file->f_numbers[count]", "file->f_numbers[0]"}),
              testing::ElementsAre(5u, 5u));
}

TEST_F(WordGroups, AFinishedWordIsNoPointer) {
  EXPECT_THAT(words({"file->f_inode + 1", "file->f_inode->i_ino"}),
              testing::ElementsAre(inode + 128, 4711u));
  EXPECT_THAT(words({"file->f_inode->i_ino", "file->f_inode + 1"}),
              testing::ElementsAre(4711u, inode + 128));
}

TEST_F(WordGroups, MoreThanThereAreRegisters) {
  const std::vector<std::string> many = {
      "file",          "buf",           "count",       "mode",         "owner",
      "file->f_owner", "file->f_inode", "file->f_pos", "file->f_wide", "current"};
  const auto found = words(many);
  ASSERT_EQ(found.size(), many.size());
  EXPECT_EQ(found[6], inode);
  EXPECT_EQ(found[7], 77u);
  EXPECT_EQ(found[8], 0xabcdeu);
  EXPECT_EQ(found[9], kernel.task);
}

TEST_F(WordGroups, MistakesAreTold) {
  const auto compiled = kernel.compile(entry_spec(
      "vfs_read", {{.name = "good", .expression = "file"}, {.name = "bad", .expression = "nope"}}));
  ASSERT_FALSE(compiled.has_value());
  EXPECT_THAT(compiled.error().message, HasSubstr("bad: "));
  EXPECT_THAT(compiled.error().message, Not(HasSubstr("good")));
}

TEST_F(WordGroups, OnlyWordsAreTakenForWords) {
  const auto compiled = kernel.compile(
      entry_spec("vfs_read", {{.name = "text", .kind = CaptureKind::bytes, .expression = "file"},
                              {.name = "file", .expression = "file"}}));
  ASSERT_TRUE(compiled.has_value());
  ASSERT_EQ(kernel.run(compiled->entry), Outcome::sent);
  EXPECT_EQ(kernel.record.find_word(field_of(0)), std::nullopt);
  EXPECT_EQ(kernel.record.find_word(field_of(1)), file);
  EXPECT_EQ(kernel.record.find_word(field_of(2)), std::nullopt);
}

}  // namespace
}  // namespace glasshook::hook
