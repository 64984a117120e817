#include "cli/catalogue.h"

#include "machine/resources.h"

namespace glasshook::cli {

Result<api::ApiCatalogue> load_catalogue(ApiPlatform platform) {
  constexpr auto kData = "apis";
  const auto data = machine::data_directory(kData);
  if (!data) return std::unexpected(data.error());
  if (platform == ApiPlatform::linux) return api::ApiCatalogue::load(*data / "linux");
  std::vector<std::filesystem::path> directories = {*data / "windows"};
  if (const auto generated = machine::generated_directory(kData); !generated.empty())
    directories.push_back(generated / "windows");
  return api::ApiCatalogue::load(directories);
}

}  // namespace glasshook::cli
