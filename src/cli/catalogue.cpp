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

Result<LoadedApis> load_apis(bool windows) {
  auto linux = load_catalogue(ApiPlatform::linux);
  if (!linux) return std::unexpected(std::move(linux.error()));
  LoadedApis loaded{.linux = std::move(*linux), .windows = {}};
  if (!windows) return loaded;
  auto other = load_catalogue(ApiPlatform::windows);
  if (!other) return std::unexpected(std::move(other.error()));
  loaded.windows = std::move(*other);
  return loaded;
}

}  // namespace glasshook::cli
