// glasshook bench: measures what watching costs here. The measuring is done by programs of bench/
// and the report by its Python; this finds both.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "cli/command.h"
#include "machine/resources.h"

namespace glasshook::cli {
namespace {

namespace fs = std::filesystem;

struct BenchOptions {
  std::vector<std::string> parts;
  std::string out;
  std::string docs;
  bool report_only = false;
};

/// The directory of the programs that measure: where the build left them.
Result<fs::path> programs() {
  std::error_code error;
  const fs::path built = machine::generated_directory("bench");
  if (!built.empty() && fs::exists(built / "guest_overhead", error)) return built;
  return with_remedy(fail(ErrorCode::not_found, "the programs that measure were not built"),
                     "scripts/build -DGLASSHOOK_BENCH=ON, in the source tree");
}

std::vector<std::string> report_command(const fs::path& data, const BenchOptions& options) {
  std::vector<std::string> words = {"python3", (data / "report").native()};
  if (!options.out.empty()) words.insert(words.end(), {"--out", options.out});
  if (!options.docs.empty()) words.insert(words.end(), {"--docs", options.docs});
  if (options.report_only) words.emplace_back("--report-only");
  words.insert(words.end(), options.parts.begin(), options.parts.end());
  return words;
}

/// Becomes that program. Returns only when it cannot.
Error become(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);  // which it would inherit as ignored
  ::execvp(argv[0], argv.data());
  return {ErrorCode::not_found, words[0] + " cannot be run: " + std::strerror(errno),
          "apt install python3"};
}

Result<int> run_bench(const BenchOptions& options) {
  const auto data = machine::data_directory("bench");
  if (!data) return std::unexpected(data.error());
  const auto plugin = machine::plugin_file();
  if (!plugin) return std::unexpected(plugin.error());
  const auto built = programs();
  if (!built) return std::unexpected(built.error());
  ::setenv("GLASSHOOK", fs::read_symlink("/proc/self/exe").c_str(), 1);
  ::setenv("GLASSHOOK_BENCH_PROGRAMS", built->c_str(), 1);
  ::setenv("GLASSHOOK_PLUGIN", plugin->c_str(), 1);
  return std::unexpected(become(report_command(*data, options)));
}

}  // namespace

void add_bench(CommandBuilder program) {
  const CommandBuilder command =
      program.add("bench", "Measure what watching costs on this machine, and report it");
  auto options = std::make_shared<BenchOptions>();
  command.values(
      "PART", options->parts, "What to measure (default: all, about two hours)",
      "hit|guest|files|single|registry|counted-guest|counted-files|counted-single|replay|"
      "memory|start|windows|scale|peers");
  command.value("--out", options->out,
                "Where rows, report.md, report.json and plots go (default: bench-report)", "DIR");
  command.value("--docs", options->docs, "Write the report there too, with its plots beside it",
                "FILE");
  command.flag("--report-only", options->report_only,
               "Measure nothing: report what is in the directory");
  command.footer(
      "hit             one hooked call in the probe, in nanoseconds\n"
      "guest           a guest with the default behaviours, against one without Glasshook\n"
      "files           file behaviours, against the same rebuilt from intercepted system calls\n"
      "single          one function of the C library hooked; registry: of Windows, under Wine\n"
      "counted-...     the same, in instructions instead of time: hardly disturbed by other load\n"
      "replay, memory, start, windows    the monitor, and a hot function of Windows\n"
      "scale           more hooks, vCPUs, VMs, events, processes\n"
      "peers           strace and others on the same work\n"
      "\n"
      "Each part keeps its rows in DIR/rows, and the report is made of all that are there: parts\n"
      "can be measured one by one. It says how busy the machine was meanwhile, and gives no "
      "verdict\n"
      "on a goal that the spread of the rounds hides. Exit status 1: something was not measured.");
  command.runs([options](const Invocation&) { return run_bench(*options); });
}

}  // namespace glasshook::cli
