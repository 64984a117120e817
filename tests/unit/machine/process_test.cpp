#include "machine/process.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>

#include "scratch.h"

namespace glasshook::machine {
namespace {

using ::testing::HasSubstr;

TEST(Child, GetsVariablesInPlaceOfOurs) {
  ::setenv("GLASSHOOK_TEST_A", "ours", 1);
  ::setenv("GLASSHOOK_TEST_B", "ours", 1);
  auto child = Child::start({.argv = {"sh", "-c", "echo $GLASSHOOK_TEST_A $GLASSHOOK_TEST_B >&2"},
                             .inherit = {},
                             .environment = {"GLASSHOOK_TEST_A=given"}});
  ::unsetenv("GLASSHOOK_TEST_A");
  ::unsetenv("GLASSHOOK_TEST_B");
  ASSERT_TRUE(child);
  ASSERT_TRUE(child->wait(in(std::chrono::seconds(10))));
  EXPECT_EQ(child->error_output(), "given ours\n");
}

TEST(Child, ReportsExitStatusAndSignal) {
  auto child = Child::start({{"sh", "-c", "exit 7"}, {}, -1});
  ASSERT_TRUE(child) << child.error().message;
  auto status = child->wait(soon());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 7);
  EXPECT_FALSE(status->success());
  EXPECT_EQ(status->text(), "exit status 7");

  child = Child::start({{"sh", "-c", "kill -TERM $$"}, {}, -1});
  ASSERT_TRUE(child);
  status = child->wait(soon());
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGTERM);
  EXPECT_THAT(status->text(), HasSubstr("Terminated"));
}

TEST(Child, NamesAProgramThatIsNotThere) {
  const auto child = Child::start({{"glasshook-no-such-program"}, {}, -1});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ErrorCode::not_found);
  EXPECT_THAT(child.error().message, HasSubstr("glasshook-no-such-program"));
}

TEST(Child, SaysWhyAProgramDoesNotStart) {
  const Scratch scratch;
  const auto program = scratch.write("broken", "#!/no/such/interpreter\n", 0755);
  const auto child = Child::start({{program.native()}, {}, -1});
  ASSERT_FALSE(child);
  EXPECT_THAT(child.error().message, HasSubstr("No such file"));
}

TEST(Child, WaitEndsAtTheDeadlineAndTheDestructorKills) {
  pid_t pid = -1;
  {
    auto child = Child::start({{"sleep", "1000"}, {}, -1});
    ASSERT_TRUE(child);
    pid = child->pid();
    const auto status = child->wait(in(std::chrono::milliseconds(10)));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::timeout);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(Child, KeepsTheEndOfItsErrorOutput) {
  auto child = Child::start({{"sh", "-c", "echo beginning >&2; echo end >&2"}, {}, -1});
  ASSERT_TRUE(child);
  ASSERT_TRUE(child->wait(soon()));
  EXPECT_EQ(child->error_output(), "beginning\nend\n");
  EXPECT_EQ(child->error_output(4), "end\n");
}

TEST(Child, InheritsOnlyWhatItIsGiven) {
  const Sockets given, kept;
  const auto script = fmt::format("printf hello >&{}; [ ! -e /proc/self/fd/{} ]",
                                  given.theirs.get(), kept.theirs.get());
  auto child = Child::start({{"bash", "-c", script}, {given.theirs.get()}, -1});
  ASSERT_TRUE(child);
  const auto status = child->wait(soon());
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->success()) << status->text();
  std::array<char, 16> text{};
  EXPECT_EQ(::recv(given.ours.get(), text.data(), text.size(), MSG_DONTWAIT), 5);
}

TEST(Child, RunsInItsOwnSessionWithItsEnvironment) {
  const Environment other("GLASSHOOK_TEST_VALUE", "old");
  const auto text = run_program(
      {"sh", "-c", "printf '%s ' \"$GLASSHOOK_TEST_VALUE\"; cut -d' ' -f6 /proc/$$/stat"}, soon());
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_THAT(*text, ::testing::StartsWith("old "));
  EXPECT_THAT(*text, ::testing::Not(HasSubstr(fmt::format(" {}\n", ::getsid(0)))));
}

TEST(RunProgram, ReturnsOutputOrTheReason) {
  EXPECT_EQ(run_program({"printf", "a b"}, soon()).value_or(""), "a b");
  EXPECT_EQ(run_program({"printf", "abcdef"}, soon(), 3).value_or(""), "abc");
  const auto failed = run_program({"sh", "-c", "echo no luck >&2; exit 3"}, soon());
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("exit status 3"));
  EXPECT_THAT(failed.error().message, HasSubstr("no luck"));
}

TEST(FindProgram, SearchesThePath) {
  const Scratch scratch;
  scratch.write("tool", "#!/bin/sh\n", 0755);
  scratch.write("data", "", 0644);
  const Environment path("PATH", scratch.path().c_str());
  EXPECT_EQ(find_program("tool"), scratch.path() / "tool");
  EXPECT_EQ(find_program("data"), "");
  EXPECT_EQ(find_program("/no/such/tool"), "");
}

TEST(TempDir, IsPrivateAndGoesAway) {
  std::filesystem::path path;
  {
    const auto dir = TempDir::create();
    ASSERT_TRUE(dir);
    path = dir->path();
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0700u);
    std::ofstream(path / "file") << "x";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TempDir, FallsBackToTmp) {
  const Environment runtime("XDG_RUNTIME_DIR", "/no/such/directory");
  const auto dir = TempDir::create();
  ASSERT_TRUE(dir);
  EXPECT_EQ(dir->path().parent_path(), "/tmp");
}

TEST(CacheDirectory, FollowsTheEnvironment) {
  const Environment chosen("GLASSHOOK_CACHE", nullptr), xdg("XDG_CACHE_HOME", nullptr),
      home("HOME", "/home/someone");
  EXPECT_EQ(cache_directory(), "/home/someone/.cache/glasshook");
  const Environment xdg_set("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(cache_directory(), "/xdg/glasshook");
  const Environment own("GLASSHOOK_CACHE", "/own");
  EXPECT_EQ(cache_directory(), "/own");
}

}  // namespace
}  // namespace glasshook::machine
