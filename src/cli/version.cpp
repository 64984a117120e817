// glasshook version
#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/diagnostics.h"
#include "hypervisor/probe/protocol.h"
#include "output/json_line.h"

namespace glasshook::cli {

void add_version(CommandBuilder program) {
  program.add("version", "Print the versions of program and formats")
      .runs([](const Invocation&) -> Result<int> {
        write_all(STDOUT_FILENO, fmt::format("glasshook {}\nevent schema {}\nprobe protocol {}\n",
                                             GLASSHOOK_VERSION, output::kSchemaVersion,
                                             hypervisor::probe::kProtocolVersion));
        return kSuccess;
      });
}

}  // namespace glasshook::cli
