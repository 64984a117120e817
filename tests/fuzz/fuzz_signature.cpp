// The signature language: any text parses or is refused, and what parses prints as it was meant.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "api/catalogue.h"

using namespace glasshook::api;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::vector<SourceFile> files = {{"fuzz.api", text}};
  const auto catalogue = ApiCatalogue::parse(files);
  if (!catalogue) {
    if (catalogue.error().message.empty()) std::abort();
    return 0;
  }
  for (const Signature& signature : catalogue->all()) {
    const std::string line = "module m\n" + signature.category + ": " + to_text(signature);
    const auto again = parse_api_file(line, "again");
    if (!again || again->functions.size() != 1) std::abort();
    if (again->functions[0].parameters != signature.parameters) std::abort();
  }
  return 0;
}
