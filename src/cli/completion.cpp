// glasshook completion: scripts that teach shells the commands and options.
#include <unistd.h>

#include "cli/command.h"
#include "cli/completion_model.h"
#include "cli/diagnostics.h"
#include "cli/program.h"

namespace glasshook::cli {
namespace {

Result<int> print_script(const std::string& shell) {
  Invocation unused;
  const auto model = completion_model(*make_program(unused));
  std::string script;
  if (shell == "bash") script = bash_completion(model);
  if (shell == "zsh") script = zsh_completion(model);
  if (shell == "fish") script = fish_completion(model);
  if (script.empty())
    return with_remedy(fail(ErrorCode::invalid_argument, "no completion for the shell '{}'", shell),
                       "bash, zsh or fish");
  write_all(STDOUT_FILENO, script);
  return kSuccess;
}

}  // namespace

void add_completion(CommandBuilder program) {
  const CommandBuilder command = program.add("completion", "Print a shell's completion script");
  auto shell = std::make_shared<std::string>();
  command.value("SHELL", *shell, "bash, zsh or fish", "bash|zsh|fish").required();
  command.footer(
      "Examples:\n"
      "  source <(glasshook completion bash)\n"
      "  glasshook completion zsh > ~/.zfunc/_glasshook   # with ~/.zfunc in fpath\n"
      "  glasshook completion fish > ~/.config/fish/completions/glasshook.fish");
  command.runs([shell](const Invocation&) { return print_script(*shell); });
}

}  // namespace glasshook::cli
