// glasshook-apigen: makes the signatures of the Windows API from mingw-w64's headers and import
// libraries. Runs as a step of the build.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "apigen/generator.h"

using namespace glasshook;  // NOLINT

namespace {

bool write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  return static_cast<bool>(stream.flush());
}

int complain(std::string_view message) {
  fmt::print(stderr, "glasshook-apigen: {}\n", message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  apigen::Inputs inputs;
  std::filesystem::path output;
  CLI::App app("Makes signatures of the Windows API from mingw-w64");
  app.add_option("--rules", inputs.rules)->required();
  app.add_option("--include", inputs.include_directory)->required();
  app.add_option("--clang-resources", inputs.clang_resources)->required();
  app.add_option("--libraries", inputs.library_directory)->required();
  app.add_option("--origin", inputs.origin)->required();
  app.add_option("--output", output)->required();
  CLI11_PARSE(app, argc, argv);

  const auto made = apigen::generate(inputs);
  if (!made) return complain(made.error().message);
  std::error_code error;
  std::filesystem::remove_all(output, error);  // what an older version made
  std::filesystem::create_directories(output, error);
  for (const auto& [name, text] : made->files)
    if (!write(output / name, text)) return complain("cannot write " + (output / name).string());
  const apigen::Counts& counts = made->counts;
  fmt::print("windows: {} functions ({} exports of {} modules), {} structures, {} constants\n",
             counts.functions, counts.exports, counts.modules, counts.structures, counts.constants);
  return 0;
}
