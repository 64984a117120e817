// The whole program in this process, as far as it needs no VM.
#include "cli/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "machine/process.h"
#include "source_root.h"

namespace glasshook::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

struct Outcome {
  int status = 0;
  std::string out, err;
};

Outcome glasshook(std::vector<std::string> arguments) {
  const auto root = glasshook::test::source_root();
  ::setenv("GLASSHOOK_DATA", root.c_str(), 1);
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.status = run_program(std::move(arguments));
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(Program, HelpTeachesEveryCommand) {
  const Outcome help = glasshook({"--help"});
  EXPECT_EQ(help.status, kSuccess);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  for (const CommandEntry& command : commands()) {
    EXPECT_THAT(help.out, HasSubstr(std::string(command.name)));
    const Outcome own = glasshook({std::string(command.name), "--help"});
    EXPECT_EQ(own.status, kSuccess);
    EXPECT_THAT(own.out, HasSubstr("Usage: glasshook " + std::string(command.name)));
  }
}

TEST(Program, WithoutArgumentsShowsHelpAsAnError) {
  const Outcome none = glasshook({});
  EXPECT_EQ(none.status, kUsage);
  EXPECT_THAT(none.err, HasSubstr("Usage:"));
}

TEST(Program, SuggestsCommandsAndOptions) {
  EXPECT_THAT(glasshook({"rum"}).err, AllOf(StartsWith("glasshook: "), HasSubstr("glasshook run")));
  EXPECT_THAT(glasshook({"apis", "lst"}).err, HasSubstr("try: glasshook apis list"));
  EXPECT_THAT(glasshook({"ps", "--jsn"}).err, HasSubstr("try: glasshook ps --json"));
  EXPECT_EQ(glasshook({"ps", "--jsn"}).status, kUsage);
}

TEST(Program, RunAndTraceFailWithTheirOwnStatus) {
  EXPECT_EQ(glasshook({"run", "--jsn", "x", "--", "true"}).status, kOwnFailure);
  EXPECT_EQ(glasshook({"run"}).status, kOwnFailure);
  EXPECT_EQ(glasshook({"run", "--memory", "lots", "--", "true"}).status, kOwnFailure);
  EXPECT_EQ(glasshook({"run", "--smp", "0", "--", "true"}).status, kOwnFailure);
  EXPECT_EQ(glasshook({"run", "--timeout", "soon", "--", "true"}).status, kOwnFailure);
  EXPECT_EQ(glasshook({"run", "--initrd", "x", "--", "true"}).status, kOwnFailure);
  EXPECT_THAT(glasshook({"trace", "--", "true"}).err, HasSubstr("--api"));
  EXPECT_EQ(glasshook({"trace", "--", "true"}).status, kOwnFailure);
}

TEST(Program, KeepsTheGuestCommandAsItIs) {
  Invocation invocation;
  const auto words = [&](std::vector<std::string> arguments) {
    Invocation parsed;
    const auto program = make_program(parsed);
    EXPECT_TRUE(parse_arguments(*program, parsed, std::move(arguments)));
    return parsed.guest_command;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(words({"run", "--", "ls", "--", "x"}), (Words{"ls", "--", "x"}));
  EXPECT_EQ(words({"run", "--smp", "2", "--", "-odd"}), (Words{"-odd"}));
}

TEST(Program, TellsWrongApisBeforeStartingAnything) {
  const Outcome wrong = glasshook({"run", "-e", "opne", "--", "true"});
  EXPECT_EQ(wrong.status, kOwnFailure);
  EXPECT_THAT(wrong.err, HasSubstr("libc!open"));
}

TEST(Program, KnowsTheTiersByName) {
  const Outcome wrong = glasshook({"run", "--tier", "hidden", "--", "true"});
  EXPECT_EQ(wrong.status, kOwnFailure);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("hidden"), HasSubstr("stealth, broad")));
  // Another error than that of the name.
  for (const char* tier : {"stealth", "broad"})
    EXPECT_THAT(glasshook({"run", "--tier", tier, "-e", "opne", "--", "true"}).err,
                AllOf(HasSubstr("libc!open"), Not(HasSubstr("tier"))));
}

TEST(Program, RefusesAnOutputThatCannotBeWritten) {
  const Outcome wrong = glasshook({"run", "--json", "/nonexistent/x", "--", "true"});
  EXPECT_EQ(wrong.status, kOwnFailure);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("/nonexistent/x"), HasSubstr("try: ")));
}

TEST(Program, ApisShowSearchAndSuggest) {
  const Outcome shown = glasshook({"apis", "show", "open"});
  EXPECT_EQ(shown.status, kSuccess);
  EXPECT_THAT(shown.out, AllOf(HasSubstr("libc!open\n"), HasSubstr("O_CREAT")));
  EXPECT_THAT(glasshook({"apis", "search", "SOCKET"}).out, HasSubstr("libc!socketpair"));
  const Outcome windows = glasshook({"apis", "show", "kernelbase!CreateProcessW"});
  EXPECT_EQ(windows.status, kSuccess);
  EXPECT_THAT(windows.out, HasSubstr("kernel32!CreateProcessW\n"));
  EXPECT_THAT(windows.out, HasSubstr("CREATE_SUSPENDED"));
  EXPECT_THAT(glasshook({"apis", "show", "ntdll!NtCreatFile"}).err,
              HasSubstr("ntdll!NtCreateFile"));
  const Outcome wrong = glasshook({"apis", "show", "opne"});
  EXPECT_EQ(wrong.status, kFailure);
  EXPECT_THAT(wrong.err, HasSubstr("libc!open"));
  EXPECT_EQ(glasshook({"apis", "list", "--category", "nework"}).status, kFailure);
  EXPECT_THAT(glasshook({"apis", "list", "--names"}).out, HasSubstr("libc!execve\n"));
}

TEST(Program, SaysThatThereIsNoVm) {
  const Outcome missing = glasshook({"ps", "--vm", "/nonexistent/vm.sock"});
  EXPECT_EQ(missing.status, kFailure);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("/nonexistent/vm.sock"), HasSubstr("try: ")));
}

TEST(Program, RefusesAFileThatIsNoRecording) {
  const auto directory = machine::TempDir::create().value();
  const std::string file = directory.path() / "x";
  std::ofstream(file) << "this is no recording";
  const Outcome wrong = glasshook({"replay", file});
  EXPECT_EQ(wrong.status, kFailure);
  EXPECT_THAT(wrong.err, StartsWith("glasshook: "));
}

TEST(Program, ColourOnlyWhenAsked) {
  EXPECT_THAT(glasshook({"apis", "search", "socket"}).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(glasshook({"--color=always", "apis", "search", "socket"}).out, HasSubstr("\x1b"));
  EXPECT_THAT(glasshook({"apis", "search", "socket", "--color", "always"}).out, HasSubstr("\x1b"));
  EXPECT_EQ(glasshook({"--color=blue", "version"}).status, kUsage);
}

TEST(Program, PrintsCompletionAndVersion) {
  EXPECT_THAT(glasshook({"completion", "bash"}).out, HasSubstr("complete -F _glasshook glasshook"));
  EXPECT_EQ(glasshook({"completion", "tcsh"}).status, kFailure);
  EXPECT_THAT(glasshook({"version"}).out, StartsWith("glasshook "));
  EXPECT_EQ(glasshook({"--version"}).out, glasshook({"version"}).out);
}

}  // namespace
}  // namespace glasshook::cli
