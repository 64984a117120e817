#include <csignal>
#include <string>
#include <vector>

#include "cli/program.h"

int main(int argc, char** argv) {
  // A reader that goes away is an error of the write that notices it.
  std::signal(SIGPIPE, SIG_IGN);
  return glasshook::cli::run_program(std::vector<std::string>(argv + 1, argv + argc));
}
