#include "cli/missing_module.h"

namespace glasshook::cli {
namespace {

constexpr std::size_t kMaxLine = 1024;
// "00c0:err:module:import_dll Library NAME (which is needed by L"PROGRAM") not found"
constexpr std::string_view kBefore = ":err:module:import_dll Library ";
constexpr std::string_view kAfter = " (which is needed by ";

}  // namespace

void MissingModule::feed(std::string_view bytes) {
  if (!name_.empty()) return;
  for (const char c : bytes) {
    if (c == '\n')
      take_line();
    else if (line_.size() < kMaxLine)
      line_ += c;
  }
}

void MissingModule::take_line() {
  const std::size_t before = line_.find(kBefore);
  if (before != std::string::npos && name_.empty()) {
    const std::size_t begin = before + kBefore.size();
    const std::size_t end = line_.find(kAfter, begin);
    if (end != std::string::npos) name_ = line_.substr(begin, end - begin);
  }
  line_.clear();
}

}  // namespace glasshook::cli
