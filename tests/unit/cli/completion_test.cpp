#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/completion_model.h"
#include "cli/program.h"
#include "source_root.h"

namespace glasshook::cli {
namespace {

using ::testing::HasSubstr;

const CompletionCommand& command(const std::vector<CompletionCommand>& all, std::string_view path) {
  for (const CompletionCommand& one : all)
    if (one.path == path) return one;
  ADD_FAILURE() << path;
  return all.front();
}

const CompletionOption& option(const CompletionCommand& in, const std::string& name) {
  for (const CompletionOption& one : in.options)
    for (const std::string& known : one.names)
      if (known == name) return one;
  ADD_FAILURE() << name;
  return in.options.front();
}

class Completion : public ::testing::Test {
 protected:
  Invocation invocation_;
  std::unique_ptr<CLI::App> program_ = make_program(invocation_);
  std::vector<CompletionCommand> model_ = completion_model(*program_);
};

TEST_F(Completion, ModelKnowsWhatValuesAre) {
  EXPECT_EQ(model_.front().path, "");
  const auto& run = command(model_, "run");
  EXPECT_TRUE(run.runs_guest_command);
  EXPECT_EQ(option(run, "--json").source, ValueSource::file);
  EXPECT_EQ(option(run, "-e").source, ValueSource::apis);
  EXPECT_TRUE(option(run, "--api").repeats);
  EXPECT_FALSE(option(run, "--all-processes").takes_value);
  EXPECT_EQ(option(run, "--color").choices, (std::vector<std::string>{"auto", "always", "never"}));
  EXPECT_EQ(command(model_, "apis").subcommands,
            (std::vector<std::string>{"list", "show", "search"}));
  EXPECT_EQ(command(model_, "apis show").positionals.front().source, ValueSource::apis);
}

TEST_F(Completion, ScriptsNameEveryCommandAndLongOption) {
  const std::string bash = bash_completion(model_);
  const std::string zsh = zsh_completion(model_);
  const std::string fish = fish_completion(model_);
  for (const CompletionCommand& one : model_) {
    EXPECT_THAT(bash, HasSubstr(one.name));
    EXPECT_THAT(zsh, HasSubstr(one.name));
    EXPECT_THAT(fish, HasSubstr(one.name));
    for (const CompletionOption& known : one.options) {
      const std::string& name = known.names.back();
      EXPECT_THAT(bash, HasSubstr(name));
      EXPECT_THAT(zsh, HasSubstr(name));
      EXPECT_THAT(fish, HasSubstr(" -l " + name.substr(2)));
    }
  }
}

/// The scripts that are kept in completions/ are what the program prints.
TEST_F(Completion, KeptScriptsAreCurrent) {
  const auto kept = [](const char* name) {
    const auto root = glasshook::test::source_root();
    std::ifstream file(root / "completions" / name, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  EXPECT_EQ(kept("glasshook.bash"), bash_completion(model_)) << "glasshook completion bash";
  EXPECT_EQ(kept("_glasshook"), zsh_completion(model_)) << "glasshook completion zsh";
  EXPECT_EQ(kept("glasshook.fish"), fish_completion(model_)) << "glasshook completion fish";
}

}  // namespace
}  // namespace glasshook::cli
