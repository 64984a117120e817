// glasshook completion: scripts that teach shells the commands and options.
#include <unistd.h>

#include "cli/command.h"
#include "cli/completion_model.h"
#include "cli/diagnostics.h"

namespace glasshook::cli {

void add_completion(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand("completion", "Print a shell's completion script");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->type_name("bash|zsh|fish");
  command->footer(
      "Examples:\n"
      "  source <(glasshook completion bash)\n"
      "  glasshook completion zsh > ~/.zfunc/_glasshook   # with ~/.zfunc in fpath\n"
      "  glasshook completion fish > ~/.config/fish/completions/glasshook.fish");
  command->callback([&program, &invocation, shell] {
    invocation.action = [&program, shell] -> Result<int> {
      const auto model = completion_model(program);
      if (*shell == "bash") {
        write_all(STDOUT_FILENO, bash_completion(model));
      } else if (*shell == "zsh") {
        write_all(STDOUT_FILENO, zsh_completion(model));
      } else if (*shell == "fish") {
        write_all(STDOUT_FILENO, fish_completion(model));
      } else {
        return with_remedy(
            fail(ErrorCode::invalid_argument, "no completion for the shell '{}'", *shell),
            "bash, zsh or fish");
      }
      return kSuccess;
    };
  });
}

}  // namespace glasshook::cli
